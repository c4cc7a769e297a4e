#include "appliance/daemons/config_senders.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "appliance/base/hash.h"
#include "appliance/base/limits.h"
#include "appliance/ingest/jws.h"

namespace stele::daemons {
namespace {

using nlohmann::json;
using Problem = std::optional<std::string>;

Problem NotAList() { return "must be a list of at most " + std::to_string(limits::kSenders) + " tables"; }

// Reads the members of each table; a member that is not among `names` is a mistake.
using Texts = std::map<std::string, std::string, std::less<>>;
Problem ReadTable(const toml::node& node, std::initializer_list<std::string_view> names, Texts& out) {
  const toml::table* table = node.as_table();
  if (table == nullptr) return "is not a table";
  for (const auto& [key, value] : *table) {
    if (std::find(names.begin(), names.end(), key.str()) == names.end())
      return "has the unknown key " + std::string(key.str());
    const auto text = value.value_exact<std::string>();
    if (!text) return std::string(key.str()) + " must be a string";
    out.emplace(std::string(key.str()), *text);
  }
  return std::nullopt;
}

std::string TextOf(const Texts& texts, std::string_view name) {
  const auto at = texts.find(name);
  return at == texts.end() ? std::string() : at->second;
}

// "sha256:" and 64 hexadecimal digits, with or without colons between the bytes.
std::optional<Hash> FingerprintOf(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix)) return std::nullopt;
  std::string digits;
  for (const char c : text.substr(kPrefix.size())) {
    if (c != ':') digits += c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return ParseHash(digits);
}

Problem ReadSender(const Texts& texts, SenderConfig& out) {
  out.name = TextOf(texts, "name");
  const bool printable = std::all_of(out.name.begin(), out.name.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (out.name.empty() || out.name.size() > limits::kSenderNameBytes || !printable)
    return "needs a name of 1 to 128 printable ASCII characters";
  if (texts.contains("token") && texts.contains("token_sha256")) return "has token and token_sha256: one is enough";
  if (texts.contains("token")) {
    const std::string token = TextOf(texts, "token");
    if (token.size() < limits::kTokenCharactersMin) return "has a token of fewer than 16 characters";
    out.token_sha256 = Sha256Of(AsBytes(token));
  }
  if (texts.contains("token_sha256")) {
    out.token_sha256 = ParseHash(TextOf(texts, "token_sha256"));
    if (!out.token_sha256) return "token_sha256 must be 64 lower-case hexadecimal digits";
  }
  if (texts.contains("fingerprint")) {
    out.fingerprint = FingerprintOf(TextOf(texts, "fingerprint"));
    if (!out.fingerprint) return "fingerprint must be \"sha256:\" and 64 hexadecimal digits";
  }
  if (!out.token_sha256 && !out.fingerprint) return "needs a token, a token_sha256 or a fingerprint";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> ReadSenders(const toml::node& node, std::vector<SenderConfig>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > limits::kSenders) return NotAList();
  std::vector<SenderConfig> senders;
  for (const toml::node& member : *list) {
    Texts texts;
    SenderConfig sender;
    Problem problem = ReadTable(member, {"name", "token", "token_sha256", "fingerprint"}, texts);
    if (!problem) problem = ReadSender(texts, sender);
    for (const SenderConfig& other : senders) {
      const bool same_token = sender.token_sha256 && other.token_sha256 == sender.token_sha256;
      const bool same_certificate = sender.fingerprint && other.fingerprint == sender.fingerprint;
      if (!problem && (same_token || same_certificate)) problem = "has the same secret as an entry before it";
    }
    if (problem) return "entry " + std::to_string(senders.size() + 1) + " " + *problem;
    senders.push_back(std::move(sender));
  }
  out = std::move(senders);
  return std::nullopt;
}

std::optional<std::string> ReadSourceKeys(const toml::node& node, std::vector<SourceKeyConfig>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > limits::kSenders) return NotAList();
  std::vector<SourceKeyConfig> keys;
  ingest::SourceKeys ring;
  for (const toml::node& member : *list) {
    Texts texts;
    Problem problem = ReadTable(member, {"kid", "alg", "public_key"}, texts);
    SourceKeyConfig key{TextOf(texts, "kid"), TextOf(texts, "alg"), TextOf(texts, "public_key")};
    if (!problem) {
      if (const auto added = ring.Add(key.kid, key.alg, key.public_key); !added)
        problem = "is no key: " + added.error().context;
    }
    if (problem) return "entry " + std::to_string(keys.size() + 1) + " " + *problem;
    keys.push_back(std::move(key));
  }
  out = std::move(keys);
  return std::nullopt;
}

std::optional<std::string> ReadSyslogKeys(const toml::node& node, std::vector<ingest::SyslogKeyText>& out) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > limits::kSenders) return NotAList();
  std::vector<ingest::SyslogKeyText> keys;
  ingest::SyslogKeys ring;
  for (const toml::node& member : *list) {
    Texts texts;
    Problem problem =
        ReadTable(member, {"name", "host", "public_key", "certificate", "fingerprint", "authority", "unlisted"}, texts);
    ingest::SyslogKeyText key{TextOf(texts, "name"),        TextOf(texts, "host"),        TextOf(texts, "public_key"),
                              TextOf(texts, "certificate"), TextOf(texts, "fingerprint"), TextOf(texts, "authority"),
                              TextOf(texts, "unlisted")};
    if (!problem) {
      if (const auto added = ring.Add(key); !added) problem = added.error().context;
    }
    if (problem) return "entry " + std::to_string(keys.size() + 1) + " " + *problem;
    keys.push_back(std::move(key));
  }
  out = std::move(keys);
  return std::nullopt;
}

json SendersJson(const std::vector<SenderConfig>& senders) {
  json list = json::array();
  for (const SenderConfig& sender : senders) {
    list.push_back({{"name", sender.name},
                    {"token_sha256", sender.token_sha256 ? HexOf(*sender.token_sha256) : ""},
                    {"fingerprint", sender.fingerprint ? HexOf(*sender.fingerprint) : ""}});
  }
  return list;
}

json SourceKeysJson(const std::vector<SourceKeyConfig>& keys) {
  json list = json::array();
  for (const SourceKeyConfig& key : keys)
    list.push_back({{"kid", key.kid}, {"alg", key.alg}, {"public_key", key.public_key}});
  return list;
}

json SyslogKeysJson(const std::vector<ingest::SyslogKeyText>& keys) {
  json list = json::array();
  for (const ingest::SyslogKeyText& key : keys) {
    list.push_back({{"name", key.name},
                    {"host", key.host},
                    {"public_key", key.public_key},
                    {"certificate", key.certificate},
                    {"fingerprint", key.fingerprint},
                    {"authority", key.authority},
                    {"unlisted", key.unlisted}});
  }
  return list;
}

}  // namespace stele::daemons
