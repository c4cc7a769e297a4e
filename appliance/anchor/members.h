// Takes the members of a JSON object of ours back, totally: remembers the first that is missing or of another form.
#pragma once

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "appliance/base/bytes.h"
#include "tpm/seal_policy.h"

namespace stele::anchor {

inline constexpr std::size_t kMemberBytesMax = std::size_t{256} * 1024;

class Members {
 public:
  explicit Members(const nlohmann::json& object) : object_(object) {
    if (!object.is_object()) fault_ = "(not a JSON object)";
  }

  void Text(const char* name, bool required, std::string& out) {
    const nlohmann::json* member = Find(name, required);
    if (member == nullptr) return;
    if (!member->is_string()) return Blame(name);
    out = member->get<std::string>();
  }
  void Hex(const char* name, bool required, Bytes& out) {
    std::string text;
    Text(name, required, text);
    auto bytes = ParseHex(text);
    if (!bytes) return Blame(name);
    out = std::move(*bytes);
  }
  void Digest(const char* name, bool required, Hash& out) {
    Bytes bytes;
    Hex(name, required, bytes);
    if (bytes.empty() && !required) return;
    if (bytes.size() != kHashBytes) return Blame(name);
    std::copy(bytes.begin(), bytes.end(), out.begin());
  }
  void Base64(const char* name, bool required, Bytes& out, std::size_t size_bytes_max = kMemberBytesMax) {
    std::string text;
    Text(name, required, text);
    auto bytes = ParseBase64(text, size_bytes_max);
    if (!bytes) return Blame(name);
    out = std::move(*bytes);
  }
  template <typename T>
  void Number(const char* name, T& out, bool required = true) {
    const nlohmann::json* member = Find(name, required);
    if (member == nullptr) return;
    if (!member->is_number_unsigned()) return Blame(name);
    const auto value = member->get<std::uint64_t>();
    if (value > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return Blame(name);
    out = static_cast<T>(value);
  }
  void Boolean(const char* name, bool& out, bool required = true) {
    const nlohmann::json* member = Find(name, required);
    if (member == nullptr) return;
    if (!member->is_boolean()) return Blame(name);
    out = member->get<bool>();
  }
  void Blame(const char* name) {
    if (fault_.empty()) fault_ = name;
  }
  [[nodiscard]] const nlohmann::json* Find(const char* name, bool required) {
    if (!object_.is_object()) return nullptr;
    const auto member = object_.find(name);
    if (member != object_.end()) return &*member;
    if (required) Blame(name);
    return nullptr;
  }
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  const nlohmann::json& object_;
  std::string fault_;
};

// {"14":"<64 hex>"}: the registers of a seal policy.
[[nodiscard]] nlohmann::json RegistersJson(const tpm::SealPolicy& policy);
[[nodiscard]] std::optional<tpm::SealPolicy> PolicyOf(const nlohmann::json& registers);

// The member `epoch` of a provisioning record or an enrolment request (provisioning_record.h).
struct EpochClaim;
[[nodiscard]] nlohmann::json EpochJson(const EpochClaim& epoch);
[[nodiscard]] std::optional<EpochClaim> EpochOf(const nlohmann::json& object);

}  // namespace stele::anchor
