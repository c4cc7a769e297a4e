#include "netfilter/guard/kept_policy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/base/system.h"
#include "netfilter/policy_text.h"

namespace stele::guard {
namespace {

using nlohmann::json;

constexpr const char* kInForce = "in_force.json";
constexpr const char* kPending = "pending.json";
constexpr const char* kFound = "found.json";
constexpr std::size_t kFileBytesMax = 4 * limits::kMiB;
constexpr unsigned kMode = 0600;

std::string Dump(const json& object) { return object.dump(-1, ' ', false, json::error_handler_t::replace); }

Result<void> SyncFolder(const std::filesystem::path& dir) {
  const UniqueFd folder(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::fsync(folder.get()) != 0) return FailErrno("sync " + dir.string());
  return {};
}

}  // namespace

Result<std::optional<InForce>> KeptPolicy::Read(const char* name) const {
  const auto bytes = ReadFile(dir_ / name, kFileBytesMax);
  if (!bytes && bytes.error().code == Code::kNotFound) return std::optional<InForce>();
  if (!bytes) return tl::unexpected(bytes.error());
  const json object = json::parse(AsText(*bytes), nullptr, false);
  const auto is = [&object](const char* member, bool text) {
    const auto at = object.find(member);
    return at != object.end() && (text ? at->is_string() : at->is_number_integer());
  };
  const bool whole = object.is_object() && is("policy", true) && is("digest", true) && is("who", true) &&
                     is("entry", false) && is("since_ns", false);
  if (!whole) return Fail(Code::kCorrupt, (dir_ / name).string() + " is not what the guard wrote");
  InForce policy;
  policy.text = object["policy"].get<std::string>();
  policy.digest = object["digest"].get<std::string>();
  policy.entry = object["entry"].get<std::uint64_t>();
  policy.since_ns = object["since_ns"].get<std::int64_t>();
  policy.who = object["who"].get<std::string>();
  if (netfilter::PolicyDigest(policy.text) != policy.digest || !netfilter::ParsePolicyText(policy.text))
    return Fail(Code::kCorrupt, (dir_ / name).string() + " is not what the guard wrote");
  return std::optional(std::move(policy));
}

Result<std::optional<InForce>> KeptPolicy::Load() const { return Read(kInForce); }
Result<std::optional<InForce>> KeptPolicy::LoadPending() const { return Read(kPending); }

Result<void> KeptPolicy::StorePending(const InForce& policy) const {
  const std::string text = Dump({{"version", 1},
                                 {"policy", policy.text},
                                 {"digest", policy.digest},
                                 {"entry", policy.entry},
                                 {"since_ns", policy.since_ns},
                                 {"who", policy.who}});
  return WriteFileDurably(dir_ / kPending, AsBytes(text), kMode);
}

Result<void> KeptPolicy::TakePending() const {
  if (::rename((dir_ / kPending).c_str(), (dir_ / kInForce).c_str()) != 0) return FailErrno("keep the policy in force");
  return SyncFolder(dir_);
}

Result<void> KeptPolicy::DropPending() const {
  if (::unlink((dir_ / kPending).c_str()) != 0 && errno != ENOENT)
    return FailErrno("forget a policy that was not applied");
  return SyncFolder(dir_);
}

std::vector<std::string> KeptPolicy::LoadFound() const {
  const auto bytes = ReadFile(dir_ / kFound, kFileBytesMax);
  const json list = bytes ? json::parse(AsText(*bytes), nullptr, false) : json();
  std::vector<std::string> out;
  if (!list.is_array()) return out;
  for (const json& one : list) {
    if (one.is_string()) out.push_back(one.get<std::string>());
  }
  return out;
}

Result<void> KeptPolicy::StoreFound(const std::vector<std::string>& differences) const {
  return WriteFileDurably(dir_ / kFound, AsBytes(Dump(differences)), kMode);
}

void KeptPolicy::DropFound() const { (void)::unlink((dir_ / kFound).c_str()); }  // said twice is no harm

}  // namespace stele::guard
