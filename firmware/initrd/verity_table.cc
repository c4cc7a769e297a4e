#include <charconv>
#include <string_view>

#include "firmware/initrd/verity.h"

namespace stele::initrd {
namespace {

bool IsHex(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

Result<RootDescription> ParseRootDescription(const std::string& text) {
  RootDescription root;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const std::string_view key = line.substr(0, line.find('='));
    const std::string_view value = line.substr(std::min(line.size(), key.size() + 1));
    if (key == "root_hash" && root.hash.empty()) {
      root.hash = value;
    } else if (key == "root_salt" && root.salt.empty()) {
      root.salt = value;
    } else if (key == "root_blocks" && root.blocks == 0) {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), root.blocks);
      if (error != std::errc{} || end != value.data() + value.size())
        return Fail(Code::kInvalid, "root_blocks is not a number");
    } else {
      return Fail(Code::kInvalid, "unknown or repeated key " + std::string(key));
    }
  }
  if (root.hash.size() != 64 || !IsHex(root.hash)) return Fail(Code::kInvalid, "root_hash is not a SHA-256");
  if (root.salt.size() > 512 || root.salt.size() % 2 != 0 || !IsHex(root.salt))
    return Fail(Code::kInvalid, "root_salt is not a salt");
  if (root.blocks == 0 || root.blocks > 1U << 28) return Fail(Code::kInvalid, "root_blocks is out of range");
  return root;
}

std::string VerityTable(const RootDescription& root, const std::string& data_node, const std::string& hash_node,
                        OnCorruption on_corruption) {
  return "1 " + data_node + " " + hash_node + " 4096 4096 " + std::to_string(root.blocks) + " 0 sha256 " + root.hash +
         " " + root.salt + (on_corruption == OnCorruption::kPanic ? " 1 panic_on_corruption" : "");
}

}  // namespace stele::initrd
