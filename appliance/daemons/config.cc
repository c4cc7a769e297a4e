#include "appliance/daemons/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define TOML_EXCEPTIONS 0
#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <sstream>
#include <toml++/toml.h>

#include "appliance/base/hash.h"
#include "appliance/base/system.h"
#include "appliance/base/text.h"
#include "appliance/daemons/config_senders.h"
#include "appliance/ingest/tls.h"

namespace stele::daemons {
namespace {

constexpr std::size_t kConfigBytesMax = 1 * limits::kMiB;
constexpr std::size_t kListMax = 256;
constexpr std::uint64_t kReserveBytesDefaultMax = 64 * limits::kMiB;
constexpr std::uint64_t kReserveBytesMin = 256 * limits::kKiB;

// A value's reader puts it into the Config, or says in one clause what it should have been.
using Problem = std::optional<std::string>;
using Take = std::function<Problem(const toml::node&)>;
using Section = std::map<std::string, Take, std::less<>>;

Take TakeText(std::string& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    if (!text) return "must be a string";
    out = *text;
    return std::nullopt;
  };
}

Take TakeWord(std::string& out, std::vector<std::string> words) {
  return [&out, words = std::move(words)](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    std::string choices;
    for (const auto& word : words) {
      if (text == word) {
        out = word;
        return std::nullopt;
      }
      choices += (choices.empty() ? "\"" : ", \"") + word + "\"";
    }
    return "must be one of " + choices;
  };
}

Take TakeNumber(std::int64_t least, std::int64_t most, std::function<void(std::int64_t)> keep) {
  return [least, most, keep = std::move(keep)](const toml::node& node) -> Problem {
    const auto number = node.value_exact<std::int64_t>();
    if (number && *number >= least && *number <= most) {
      keep(*number);
      return std::nullopt;
    }
    return "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most);
  };
}

template <std::integral T>
Take TakeNumberInto(T& out, std::int64_t least, std::int64_t most) {
  return TakeNumber(least, most, [&out](std::int64_t number) { out = static_cast<T>(number); });
}

Take TakePort(std::optional<std::uint16_t>& out) {
  return [&out](const toml::node& node) -> Problem {
    if (node.value_exact<std::string>() == "off") {
      out.reset();
      return std::nullopt;
    }
    const auto number = node.value_exact<std::int64_t>();
    if (!number || *number < 0 || *number > 65'535) return "must be a port from 0 to 65535, or \"off\"";
    out = static_cast<std::uint16_t>(*number);
    return std::nullopt;
  };
}

Take TakeAddress(std::string& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    in6_addr scratch{};
    if (!text || (::inet_pton(AF_INET, text->c_str(), &scratch) != 1 && ::inet_pton(AF_INET6, text->c_str(), &scratch) != 1)) {
      return "must be an IPv4 or IPv6 address in a string";
    }
    out = *text;
    return std::nullopt;
  };
}

Take TakeTexts(std::vector<std::string>& out, std::size_t shortest) {
  return [&out, shortest](const toml::node& node) -> Problem {
    const toml::array* list = node.as_array();
    if (list == nullptr || list->size() > kListMax) return "must be a list of at most " + std::to_string(kListMax) + " strings";
    std::vector<std::string> texts;
    for (const toml::node& member : *list) {
      const auto text = member.value_exact<std::string>();
      if (!text) return "must be a list of strings";
      if (text->size() < shortest) return "holds a string of fewer than " + std::to_string(shortest) + " characters";
      texts.push_back(*text);
    }
    out = std::move(texts);
    return std::nullopt;
  };
}

// One string, or a list of them.
Take TakeFiles(std::vector<std::string>& out) {
  return [&out, list = TakeTexts(out, 1)](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    if (!text) return node.is_array() ? list(node) : Problem("must be a file name or a list of them");
    out = {*text};
    return std::nullopt;
  };
}

Take TakeFingerprints(std::vector<std::string>& out) {
  return [&out, list = TakeTexts(out, 1)](const toml::node& node) -> Problem {
    if (auto problem = list(node)) return problem;
    for (const std::string& text : out) {
      if (!ingest::ParseFingerprint(text)) return "holds what is no fingerprint: \"sha256:\" and 64 hexadecimal digits";
    }
    return std::nullopt;
  };
}

Take TakeTpm(TpmChoice& out) {
  return [&out](const toml::node& node) -> Problem {
    std::string word;
    if (auto problem = TakeWord(word, {"auto", "device", "embedded"})(node)) return problem;
    out = word == "auto" ? TpmChoice::kAuto : word == "device" ? TpmChoice::kDevice : TpmChoice::kEmbedded;
    return std::nullopt;
  };
}

// An origin is a line of a checkpoint: printable, no spaces, no plus (C2SP signed-note: key names).
Take TakeOrigin(std::string& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto text = node.value_exact<std::string>();
    if (!text || text->size() > 200) return "must be a string of at most 200 characters";
    for (const char c : *text) {
      if (c <= ' ' || c > '~' || c == '+') return "must be printable ASCII without spaces and plus signs";
    }
    out = *text;
    return std::nullopt;
  };
}

Take TakePcr(std::int64_t& out) {
  return [&out](const toml::node& node) -> Problem {
    const auto number = node.value_exact<std::int64_t>();
    // 16 and 23 are resettable by anybody; 0-7, 9, 11 and 12 belong to the boot chain that is quoted beside it.
    if (number != 8 && number != 13 && number != 14) return "must be 14, 13 or 8";
    out = *number;
    return std::nullopt;
  };
}

Problem TakeAddresses(const toml::node& node, std::vector<IpPrefix>& out) {
  std::vector<std::string> texts;
  if (const auto one = node.value_exact<std::string>()) {
    texts.push_back(*one);
  } else if (auto problem = TakeTexts(texts, 1)(node)) {
    return "must be an address, a prefix, or a list of them";
  }
  for (const std::string& text : texts) {
    const auto prefix = ParseIpPrefix(text);
    if (!prefix) return EscapeForTerminal(AsBytes(prefix.error().context));
    out.push_back(*prefix);
  }
  return std::nullopt;
}

Problem TakeNamedSource(const toml::table& table, channel::NamedSource& out) {
  for (const auto& [key, node] : table) {
    Problem problem;
    if (key.str() == "name") {
      problem = TakeText(out.name)(node);
    } else if (key.str() == "address") {
      problem = TakeAddresses(node, out.addresses);
    } else if (key.str() == "identity") {
      problem = TakeText(out.identity)(node);
    } else if (key.str() == "silence_s") {
      problem = TakeNumber(0, limits::kSilenceSecondsMax, [&out](std::int64_t s) { out.silence_s = s; })(node);
    } else {
      return "unknown key " + EscapeForTerminal(AsBytes(key.str()));
    }
    if (problem) return std::string(key.str()) + " " + *problem;
  }
  return channel::ProblemOf(out);
}

// [[sources.named]], each of them complete, no name and no prefix twice.
Take TakeNamedSources(channel::SourceRules& out) {
  return [&out](const toml::node& node) -> Problem {
    const toml::array* list = node.as_array();
    if (list == nullptr || list->size() > limits::kSourcesNamed) {
      return "must be tables, [[sources.named]], at most " + std::to_string(limits::kSourcesNamed);
    }
    std::vector<channel::NamedSource> named;
    std::map<std::string, std::string> owner_of;  // of a name, of a prefix with its identity
    for (const toml::node& member : *list) {
      const std::string which = "number " + std::to_string(named.size() + 1) + ": ";
      const toml::table* table = member.as_table();
      if (table == nullptr) return which + "must be a table: [[sources.named]]";
      channel::NamedSource one;
      if (const Problem problem = TakeNamedSource(*table, one)) return which + *problem;
      if (!owner_of.emplace("name " + one.name, one.name).second) return which + "the name \"" + one.name + "\" is given twice";
      for (const IpPrefix& prefix : one.addresses) {
        const auto [at, fresh] = owner_of.emplace(IpPrefixText(prefix) + " " + one.identity, one.name);
        if (!fresh) return which + IpPrefixText(prefix) + " is \"" + at->second + "\" already";
      }
      named.push_back(std::move(one));
    }
    out.SetNamed(std::move(named));
    if (channel::EncodeSourceRules(out).size() > limits::kSourceRulesBytes) {
      return "is too long in all: more than " + std::to_string(limits::kSourceRulesBytes) + " bytes as JSON";
    }
    return std::nullopt;
  };
}

Take TakeUnknownSources(channel::SourceRules& out) {
  return [&out](const toml::node& node) -> Problem {
    std::string word;
    if (auto problem = TakeWord(word, {"accept", "refuse"})(node)) return problem;
    out.refuse_unknown = word == "refuse";
    return std::nullopt;
  };
}

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kTokenCharacters = 16;  // a bearer token is a password for programs

std::map<std::string, Section, std::less<>> SectionsOf(Config& config) {
  return {
      {"log", {{"origin", TakeOrigin(config.origin)}}},
      {"ingest",
       {{"address", TakeAddress(config.ingest_address)},
        {"syslog_udp_port", TakePort(config.syslog_udp_port)},
        {"syslog_tcp_port", TakePort(config.syslog_tcp_port)},
        {"https_json_port", TakePort(config.https_json_port)},
        {"syslog_tls_port", TakePort(config.syslog_tls_port)},
        {"json_lines_tls_port", TakePort(config.json_lines_tls_port)},
        {"relp_port", TakePort(config.relp_port)},
        {"relp_tls_port", TakePort(config.relp_tls_port)},
        {"relp_refusal", TakeWord(config.relp_refusal, {"close", "answer"})},
        {"tls_certificate", TakeText(config.tls_certificate)},
        {"tls_key", TakeText(config.tls_key)},
        {"tls_min", TakeWord(config.tls_min, {"1.3", "1.2"})},
        {"tls_client_auth", TakeWord(config.tls_client_auth, {"none", "request", "require"})},
        {"tls_client_ca", TakeFiles(config.tls_client_ca)},
        {"tls_client_fingerprints", TakeFingerprints(config.tls_client_fingerprints)},
        {"zone", TakeText(config.zone)},
        {"message_bytes_max",
         TakeNumberInto(config.message_bytes_max, 1'024, static_cast<std::int64_t>(limits::kMessageBytesCeiling))},
        {"source_records_per_s", TakeNumberInto(config.source_records_per_s, 0, 1'000'000'000)},
        {"source_bytes_per_s", TakeNumberInto(config.source_bytes_per_s, 0, std::int64_t{1} << 40U)},
        {"tokens", TakeTexts(config.tokens, kTokenCharacters)},
        {"senders", [&config](const toml::node& node) { return ReadSenders(node, config.senders); }},
        {"keys", [&config](const toml::node& node) { return ReadSourceKeys(node, config.keys); }},
        {"syslog_keys", [&config](const toml::node& node) { return ReadSyslogKeys(node, config.syslog_keys); }}}},
      {"viewer",
       {{"address", TakeAddress(config.viewer_address)},
        {"port", TakeNumberInto(config.viewer_port, 0, 65'535)},
        {"hosts", TakeTexts(config.hosts, 1)}}},
      {"store",
       {{"segment_bytes", TakeNumberInto(config.segment_bytes, static_cast<std::int64_t>(limits::kSegmentBytesMin),
                                         std::int64_t{1} << 40U)},
        {"reserve_bytes", TakeNumberInto(config.reserve_bytes, static_cast<std::int64_t>(kReserveBytesMin),
                                         std::int64_t{1} << 40U)},
        {"codec", TakeWord(config.codec, {"auto", "zstd", "lz4", "none"})}}},
      {"checkpoint",
       {{"interval_ms", TakeNumberInto(config.checkpoint_interval_ms, 10, kDayMs)},
        {"heartbeat_interval_ms", TakeNumberInto(config.heartbeat_interval_ms, 1'000, kDayMs)},
        {"commit_window_ms", TakeNumberInto(config.commit_window_ms, 1, 10'000)}}},
      {"anchor",
       {{"interval_ms", TakeNumberInto(config.anchor_interval_ms, 1'000, 7 * kDayMs)},
        {"pcr", TakePcr(config.pcr)},
        {"tpm", TakeTpm(config.tpm)}}},
      {"sources",
       {{"unknown", TakeUnknownSources(config.sources)},
        {"silence_factor", TakeNumberInto(config.sources.silence_factor, 2, 1'000)},
        {"silence_min_s", TakeNumberInto(config.sources.silence_min_s, 1, limits::kSilenceSecondsMax)},
        {"silence_messages", TakeNumberInto(config.sources.silence_messages, 10, 1'000'000)},
        {"named", TakeNamedSources(config.sources)}}},
      {"processes",
       {{"restart_delay_max_ms", TakeNumberInto(config.restart_delay_max_ms, 100, 600'000)},
        {"network_namespace", TakeWord(config.network_namespace, {"auto", "require", "off"})}}},
  };
}

class ConfigReader {
 public:
  ConfigReader(Config& config, std::string_view name) : sections_(SectionsOf(config)), name_(name) {}

  Result<void> Read(const toml::table& document) const {
    for (const auto& [key, node] : document) {
      const auto section = sections_.find(key.str());
      if (section == sections_.end()) return At(key.source(), "unknown section [" + Printable(key.str()) + "]");
      const toml::table* table = node.as_table();
      if (table == nullptr) return At(key.source(), Printable(key.str()) + " must be a section: [" + section->first + "]");
      STELE_TRY_VOID(ReadSection(*section, *table));
    }
    return {};
  }

  [[nodiscard]] tl::unexpected<Error> At(const toml::source_region& where, const std::string& reason) const {
    return Fail(Code::kInvalid, name_ + ":" + std::to_string(where.begin.line) + ": " + reason);
  }

 private:
  static std::string Printable(std::string_view text) { return EscapeForTerminal(AsBytes(text)); }

  Result<void> ReadSection(const std::pair<const std::string, Section>& section, const toml::table& table) const {
    for (const auto& [key, node] : table) {
      const std::string full_name = section.first + "." + Printable(key.str());
      const auto take = section.second.find(key.str());
      if (take == section.second.end()) return At(key.source(), "unknown key " + full_name);
      if (const Problem problem = take->second(node)) return At(node.source(), full_name + " " + *problem);
    }
    return {};
  }

  std::map<std::string, Section, std::less<>> sections_;
  std::string name_;
};

// What one key alone cannot say. An authority that nobody asks for would look like authentication and be none.
Result<void> CheckTogether(const Config& config, std::string_view name) {
  const bool trusts = !config.tls_client_ca.empty() || !config.tls_client_fingerprints.empty();
  const bool asks = config.tls_client_auth != "none";
  const auto fail = [name](const char* reason) { return Fail(Code::kInvalid, std::string(name) + ": " + reason); };
  if (asks && !trusts) return fail("ingest.tls_client_auth needs ingest.tls_client_ca or ingest.tls_client_fingerprints");
  if (trusts && !asks) return fail("ingest.tls_client_ca and tls_client_fingerprints need ingest.tls_client_auth");
  if (config.tls_certificate.empty() != config.tls_key.empty()) return fail("ingest.tls_certificate and ingest.tls_key go together");
  return {};
}

}  // namespace

Result<Config> ParseConfig(std::string_view text, std::string_view name) {
  Config config;
  const ConfigReader reader(config, name);
  const toml::parse_result parsed = toml::parse(text, name);
  if (!parsed) return reader.At(parsed.error().source(), std::string(parsed.error().description()));
  STELE_TRY_VOID(reader.Read(parsed.table()));
  STELE_TRY_VOID(CheckTogether(config, name));
  if (config.reserve_bytes == 0) {
    config.reserve_bytes = std::clamp(config.segment_bytes / 4, kReserveBytesMin, kReserveBytesDefaultMax);
  }
  config.sha256 = Sha256Of(AsBytes(text));
  for (const auto& [section, node] : parsed.table()) {
    for (const auto& [key, value] : *node.as_table()) {  // the reader has accepted only sections
      std::ostringstream shown;
      value.visit([&shown](const auto& one) { shown << one; });
      config.values[std::string(section.str()) + "." + std::string(key.str())] = shown.str();
    }
  }
  return config;
}

std::vector<std::string> TakeLive(Config& running, const Config& fresh) {
  constexpr std::string_view kLive = "sources.";
  std::vector<std::string> later;
  const auto compare = [&](const auto& ours, const auto& theirs, bool both) {
    for (const auto& [key, value] : ours) {
      const auto at = theirs.find(key);
      const bool differs = at == theirs.end() || (both && at->second != value);
      if (differs && !key.starts_with(kLive)) later.push_back(key);
    }
  };
  compare(running.values, fresh.values, true);
  compare(fresh.values, running.values, false);
  running.sources = fresh.sources;
  running.sha256 = fresh.sha256;
  return later;
}

Result<Config> LoadConfig(const std::filesystem::path& path, bool required) {
  auto text = ReadFile(path, kConfigBytesMax);
  if (!text && text.error().code == Code::kNotFound && !required) return ParseConfig("", path.string());
  if (!text) return tl::unexpected(std::move(text.error()));
  return ParseConfig(AsText(*text), path.string());
}

}  // namespace stele::daemons
