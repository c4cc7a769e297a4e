#include "appliance/daemons/config_enforce.h"

#include <algorithm>

#include "appliance/base/text.h"
#include "appliance/ingest/jws.h"

namespace stele::daemons {
namespace {

using Problem = std::optional<std::string>;

Problem ReadApprover(const toml::node& node, netfilter::Approver& out) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return "is not a table";
  std::string public_key;
  for (const auto& [key, value] : *table) {
    const auto text = value.value_exact<std::string>();
    if (key.str() != "name" && key.str() != "public_key")
      return "has the unknown key " + EscapeForTerminal(AsBytes(key.str()));
    if (!text) return std::string(key.str()) + " must be a string";
    (key.str() == "name" ? out.name : public_key) = *text;
  }
  if (!netfilter::IsApproverName(out.name)) {
    return "needs a name of 1 to " + std::to_string(limits::kApproverNameBytes) + " letters, digits and . - _ @";
  }
  ingest::SourceKeys ring;
  if (const auto added = ring.Add(out.name, "EdDSA", public_key); !added)
    return "has no Ed25519 public_key: " + added.error().context;
  const Bytes& raw = ring.Find(out.name)->raw;
  std::copy(raw.begin(), raw.end(), out.public_key.begin());
  return std::nullopt;
}

}  // namespace

Problem ReadApprovers(const toml::node& node, std::vector<netfilter::Approver>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > limits::kApprovers) {
    return "must be tables, [[policy.approvers]], at most " + std::to_string(limits::kApprovers);
  }
  std::vector<netfilter::Approver> approvers;
  for (const toml::node& member : *list) {
    netfilter::Approver one;
    Problem problem = ReadApprover(member, one);
    for (const netfilter::Approver& other : approvers) {
      if (!problem && other.name == one.name) problem = "has the name of an entry before it";
      if (!problem && other.public_key == one.public_key)
        problem = "has the key of an entry before it: one person, one name";
    }
    if (problem) return "entry " + std::to_string(approvers.size() + 1) + " " + *problem;
    approvers.push_back(std::move(one));
  }
  out = std::move(approvers);
  return std::nullopt;
}

Problem ProblemOfEnforce(const EnforceConfig& config) {
  if (config.approvals <= config.approvers.size()) return std::nullopt;
  return "policy.approvals is " + std::to_string(config.approvals) + " and there are " +
         std::to_string(config.approvers.size()) + " [[policy.approvers]]: no change could ever be approved";
}

}  // namespace stele::daemons
