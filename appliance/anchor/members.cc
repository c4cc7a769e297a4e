#include "appliance/anchor/members.h"

#include <charconv>

namespace stele::anchor {

using nlohmann::json;

json RegistersJson(const tpm::SealPolicy& policy) {
  json out = json::object();
  for (const auto& [number, value] : policy.registers) out[std::to_string(number)] = HexOf(value);
  return out;
}

std::optional<tpm::SealPolicy> PolicyOf(const json& registers) {
  tpm::SealPolicy policy;
  if (!registers.is_object() || registers.empty()) return std::nullopt;
  for (const auto& [name, value] : registers.items()) {
    std::uint32_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    const auto hash = value.is_string() ? ParseHash(value.get_ref<const std::string&>()) : std::nullopt;
    if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size() || number > 23 || !hash ||
        std::to_string(number) != name) {
      return std::nullopt;
    }
    policy.registers[number] = *hash;
  }
  return policy;
}

}  // namespace stele::anchor
