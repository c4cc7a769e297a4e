#include "firmware/initrd/driver_table.h"

#include <fnmatch.h>

#include <algorithm>

namespace stele::initrd {
namespace {

// Up to the next blank; what is behind it stays in `rest`.
std::string_view TakeWord(std::string_view& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  const std::string_view word = rest.substr(0, rest.find(' '));
  rest.remove_prefix(word.size());
  return word;
}

}  // namespace

Result<DriverTable> DriverTable::Parse(std::string_view text) {
  DriverTable table;
  while (!text.empty()) {
    std::string_view rest = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), rest.size() + 1));
    if (rest.empty()) continue;
    Line line{std::string(TakeWord(rest)), {}};
    for (std::string_view file = TakeWord(rest); !file.empty(); file = TakeWord(rest)) {
      if (file.find('/') != std::string_view::npos) return Fail(Code::kInvalid, "the table of drivers names a path");
      line.files.emplace_back(file);
    }
    if (line.files.empty()) return Fail(Code::kInvalid, "the table of drivers has a line without a file");
    table.lines_.push_back(std::move(line));
  }
  return table;
}

std::vector<std::string> DriverTable::FilesFor(const std::string& modalias) const {
  std::vector<std::string> files;
  for (const Line& line : lines_) {
    if (::fnmatch(line.pattern.c_str(), modalias.c_str(), 0) != 0) continue;
    files.insert(files.end(), line.files.begin(), line.files.end());
  }
  return files;
}

}  // namespace stele::initrd
