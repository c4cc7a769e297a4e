#include "appliance/channel/source_rules.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "appliance/base/limits.h"
#include "appliance/base/text.h"

namespace stele::channel {
namespace {

using nlohmann::json;

Result<NamedSource> DecodeNamed(const json& object) {
  NamedSource named;
  named.name = object.at("name").get<std::string>();
  for (const json& text : object.value("addresses", json::array())) {
    STELE_TRY(const IpPrefix prefix, ParseIpPrefix(text.get<std::string>()));
    named.addresses.push_back(prefix);
  }
  named.identity = object.value("identity", "");
  if (object.contains("silence_s")) named.silence_s = object.at("silence_s").get<std::int64_t>();
  if (const auto problem = ProblemOf(named)) return Fail(Code::kInvalid, "source \"" + named.name + "\": " + *problem);
  return named;
}

// What a certificate's identity may be called by: its fingerprint, its common name, its DNS names, in this order. The identity is
// a JSON object as text (docs/entries.md); a bare word stands for itself.
std::vector<std::string> NamesInIdentity(std::string_view identity) {
  if (identity.empty()) return {};
  if (identity.front() != '{') return {std::string(identity)};
  const json object = json::parse(identity, nullptr, false);
  std::vector<std::string> names;
  if (!object.is_object()) return names;
  for (const char* member : {"fingerprint", "cn"}) {
    const auto at = object.find(member);
    if (at != object.end() && at->is_string()) names.push_back(at->get<std::string>());
  }
  for (const json& name : object.value("dns", json::array())) {
    if (name.is_string()) names.push_back(name.get<std::string>());
  }
  return names;
}

}  // namespace

std::size_t SourceRules::AddressHash::operator()(const IpAddress& address) const { return Checksum32(address); }

void SourceRules::SetNamed(std::vector<NamedSource> named) {
  named_ = std::move(named);
  by_prefix_.clear();
  by_identity_.clear();
  for (std::size_t i = 0; i < named_.size(); ++i) {
    if (!named_[i].identity.empty()) by_identity_.emplace(named_[i].identity, i);
    for (const IpPrefix& prefix : named_[i].addresses) by_prefix_[prefix.bits].emplace(prefix.address, i);
  }
}

const NamedSource* SourceRules::Find(const IpAddress& address, std::string_view identity) const {
  const std::vector<std::string> known = NamesInIdentity(identity);
  const auto fits = [&](const NamedSource& one) {
    const bool there = one.addresses.empty() || std::any_of(one.addresses.begin(), one.addresses.end(),
                                                            [&](const IpPrefix& prefix) { return prefix.Contains(address); });
    return there && (one.identity.empty() || std::find(known.begin(), known.end(), one.identity) != known.end());
  };
  for (const std::string& name : known) {
    const auto at = by_identity_.find(name);
    if (at != by_identity_.end() && fits(named_[at->second])) return &named_[at->second];
  }
  for (const auto& [bits, sources] : by_prefix_) {
    const auto [begin, end] = sources.equal_range(Masked(address, bits));
    for (auto at = begin; at != end; ++at) {
      if (fits(named_[at->second])) return &named_[at->second];
    }
  }
  return nullptr;
}

std::optional<std::string> ProblemOf(const NamedSource& source) {
  if (source.name.empty() || source.name.size() > limits::kSourceNameBytes) {
    return "name must have 1 to " + std::to_string(limits::kSourceNameBytes) + " bytes";
  }
  if (EscapeForTerminal(AsBytes(source.name)) != source.name) return "name must be printable text";
  if (source.addresses.empty() && source.identity.empty()) return "needs an address or an identity";
  if (source.addresses.size() > limits::kSourceAddresses) {
    return "has more than " + std::to_string(limits::kSourceAddresses) + " addresses";
  }
  if (source.identity.size() > limits::kSourceDescriptionBytes / 4) return "identity is too long";
  if (source.silence_s && (*source.silence_s < 0 || *source.silence_s > limits::kSilenceSecondsMax)) {
    return "silence_s must be a whole number from 0 to " + std::to_string(limits::kSilenceSecondsMax);
  }
  return std::nullopt;
}

std::string EncodeSourceRules(const SourceRules& rules) {
  json named = json::array();
  for (const NamedSource& one : rules.named()) {
    json object = {{"name", one.name}, {"addresses", json::array()}, {"identity", one.identity}};
    for (const IpPrefix& prefix : one.addresses) object["addresses"].push_back(IpPrefixText(prefix));
    if (one.silence_s) object["silence_s"] = *one.silence_s;
    named.push_back(std::move(object));
  }
  return json{{"named", std::move(named)},
              {"unknown", rules.refuse_unknown ? "refuse" : "accept"},
              {"silence_factor", rules.silence_factor},
              {"silence_min_s", rules.silence_min_s},
              {"silence_messages", rules.silence_messages}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<SourceRules> DecodeSourceRules(std::string_view json_text) {
  SourceRules rules;
  if (json_text.empty()) return rules;
  const json object = json::parse(json_text, nullptr, false);
  if (!object.is_object()) return Fail(Code::kInvalid, "sources: not a JSON object");
  try {
    std::vector<NamedSource> named;
    for (const json& one : object.value("named", json::array())) {
      STELE_TRY(NamedSource decoded, DecodeNamed(one));
      named.push_back(std::move(decoded));
    }
    if (named.size() > limits::kSourcesNamed) return Fail(Code::kInvalid, "sources: too many names");
    rules.SetNamed(std::move(named));
    rules.refuse_unknown = object.value("unknown", "accept") == "refuse";
    rules.silence_factor = object.value("silence_factor", rules.silence_factor);
    rules.silence_min_s = object.value("silence_min_s", rules.silence_min_s);
    rules.silence_messages = object.value("silence_messages", rules.silence_messages);
  } catch (const json::exception& problem) {
    return Fail(Code::kInvalid, std::string("sources: ") + problem.what());
  }
  return rules;
}

}  // namespace stele::channel
