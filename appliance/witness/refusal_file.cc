#include "appliance/witness/refusal_file.h"

#include "appliance/base/system.h"
#include "appliance/base/text.h"

namespace stele::witness {
namespace {

constexpr std::size_t kRefusalBytesMax = 1024;

}  // namespace

Result<void> LeaveRefusal(const std::filesystem::path& dir, const std::string& text) {
  return WriteFileDurably(dir / kRefusalFile, AsBytes(std::string_view(text).substr(0, kRefusalBytesMax)), 0600);
}

std::optional<std::string> ReadRefusal(const std::filesystem::path& dir) {
  const auto text = ReadFile(dir / kRefusalFile, kRefusalBytesMax);
  if (!text) return std::nullopt;
  return EscapeForTerminal(*text);
}

void RemoveRefusal(const std::filesystem::path& dir) {
  std::error_code ignored;  // it is read again then, and not alarmed twice in one life
  std::filesystem::remove(dir / kRefusalFile, ignored);
}

}  // namespace stele::witness
