// Goal: agreement with vectors this project did not write (RFC examples, cases of rsyslog, syslog-ng and go-syslog). Method: every
// vector gives the expected result or its identifier is in one of the lists below, which docs/protocols.md explains.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "appliance/base/text.h"
#include "appliance/ingest/message.h"
#include "appliance/ingest/timestamp.h"
#include "tests/unit/ingest/reference_framer.h"

namespace stele::ingest {
namespace {

using nlohmann::json;

constexpr std::int64_t kReceived = 1'768'478'400'000'000'000;  // 2026-01-15T12:00:00Z

const std::set<int> kGoSyslogDifferences{115};
const std::set<std::string> kMessageDifferences{};

std::filesystem::path CorpusDir() {
  const char* named = std::getenv("STELE_CORPUS");  // NOLINT(concurrency-mt-unsafe)  // one thread
  return named != nullptr ? std::filesystem::path(named) : std::filesystem::path(STELE_SOURCE_DIR "/../shared/corpus");
}

std::vector<json> Load(const std::string& name) {
  std::ifstream file(CorpusDir() / "vectors" / name);
  std::vector<json> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty()) lines.push_back(json::parse(line));
  }
  return lines;
}

std::string Input(const json& vector, const char* name = "input_b64") {
  const auto bytes = ParseBase64(vector.at(name).get<std::string>(), 8U << 20U);
  return bytes ? std::string(AsText(*bytes)) : std::string("cannot happen");
}

#define NEEDS_CORPUS(vectors) \
  if ((vectors).empty()) GTEST_SKIP() << "no corpus of vectors (set STELE_CORPUS): nothing was compared"

std::string Text(std::string_view view) { return std::string(view); }

// Expectations of messages.ndjson, one line of explanation per disagreement.
std::vector<std::string> Disagreements(const json& expect, const std::string& payload, const ParsedMessage& message) {
  std::vector<std::string> found;
  const auto text = [&](const char* name, std::string_view ours) {
    if (!expect.contains(name)) return;
    const std::string theirs = expect[name].is_null() ? "" : expect[name].get<std::string>();
    if (theirs != ours) found.push_back(std::string(name) + ": " + theirs + " is not " + Text(ours));
  };
  const auto number = [&](const char* name, std::optional<int> ours) {
    if (expect.contains(name) && expect[name].get<int>() != ours.value_or(-1)) found.push_back(name);
  };
  const auto facility = message.facility ? std::optional<int>(*message.facility) : std::nullopt;
  const auto severity = message.severity ? std::optional<int>(*message.severity) : std::nullopt;
  number("fac", facility);
  number("sev", severity);
  number("ver", message.version);
  if (facility && severity) number("pri", *facility * 8 + *severity);
  text("host", message.host);
  text("app", message.app);
  text("tag", message.app);
  text("pid", message.pid);
  text("procid", message.pid);
  text("msgid", message.msgid);
  text("seq", message.sequence);
  text("msg", message.Message(AsBytes(payload)));
  if (expect.contains("msg") && expect["msg"].is_null() && message.has_message) found.push_back("there is a message");
  if (expect.contains("pri_valid") && !message.Has(kBadPriority)) found.push_back("the PRI is not said to be wrong");
  if (expect.contains("ts_valid") && (!message.Has(kBadTime) || message.claimed_ns)) found.push_back("the time is not said to be wrong");
  if (expect.contains("valid") && (message.problems & kInvalid5424) == 0) found.push_back("it is not said to be invalid");
  if (expect.contains("ts_frac") && message.time_text.find(expect["ts_frac"].get<std::string>()) == std::string_view::npos) found.push_back("fraction");
  if (expect.contains("ts")) {
    const auto theirs = expect["ts"].is_null() ? std::nullopt : FindTime(expect["ts"].get<std::string>(), kReceived);
    const auto theirs_ns = theirs ? std::optional(theirs->claimed_ns) : std::nullopt;
    // "2017-03-06T09:22:34" of a stamp that also names its zone is a local time: compare what was written.
    const bool local = theirs && theirs->no_zone && !message.Has(kNoZone);
    if (!local && theirs_ns != message.claimed_ns) found.push_back("ts");
  }
  if (expect.contains("sd") || expect.contains("sd_multi")) {
    json ours = json::object();
    json ours_multi = json::object();
    for (const auto& element : message.elements) {
      ours[Text(element.id)] = json::object();
      ours_multi[Text(element.id)] = json::array();
      for (std::uint32_t i = 0; i < element.parameter_count; ++i) {
        const auto& parameter = message.parameters[element.parameter_first + i];
        ours[Text(element.id)][Text(parameter.name)] = Unescape(parameter.value);
        ours_multi[Text(element.id)].push_back({Text(parameter.name), Unescape(parameter.value)});
      }
    }
    if (expect.contains("sd") && expect["sd"] != ours) found.push_back("sd: " + ours.dump());
    if (expect.contains("sd_multi") && expect["sd_multi"] != ours_multi) found.push_back("sd_multi: " + ours_multi.dump());
  }
  return found;
}

TEST(Vectors, MessagesAreTakenApartAsExpected) {
  const auto vectors = Load("messages.ndjson");
  NEEDS_CORPUS(vectors);
  std::set<std::string> different;
  for (const auto& vector : vectors) {
    const std::string payload = Input(vector);
    const auto message = ParseSyslog(AsBytes(payload), kReceived);
    EXPECT_EQ(PeekHost(AsBytes(payload), kReceived), message.host) << payload;
    const auto disagreements = Disagreements(vector.at("expect"), payload, message);
    const auto id = vector.at("id").get<std::string>();
    if (!disagreements.empty()) different.insert(id);
    if (kMessageDifferences.count(id) == 0) {
      for (const auto& line : disagreements) ADD_FAILURE() << id << ": " << EscapeForTerminal(AsBytes(line)) << "\n  " << EscapeForTerminal(AsBytes(payload));
    }
  }
  EXPECT_EQ(different, kMessageDifferences);
}

TEST(Vectors, StreamsAreFramedAsExpected) {
  const auto vectors = Load("tcp_framing.ndjson");
  NEEDS_CORPUS(vectors);
  for (const auto& vector : vectors) {
    const std::string stream = Input(vector);
    const auto id = vector.at("id").get<std::string>();
    const auto messages = FastFrames(stream, {}, EndReason::kPeerClosed, {});
    EXPECT_EQ(messages, ReferenceFrames(stream, {}, EndReason::kPeerClosed)) << id;
    EXPECT_TRUE(SameButForTheRest(messages, FastFrames(stream, {}, EndReason::kPeerClosed, {1}))) << id;
    std::vector<std::string> whole;
    bool error = false;
    for (const auto& message : messages) {
      if (message.framing_error && message.foreign == Foreign::kNone) error = true;
      if (!message.framing_error && !message.incomplete) whole.push_back(message.bytes);
    }
    EXPECT_EQ(error, vector.at("conn_error").get<bool>()) << id;
    if (!vector.at("frames").is_null()) {
      EXPECT_EQ(whole, vector["frames"].get<std::vector<std::string>>()) << id;
    }
    if (id == "tls-hello") {
      EXPECT_EQ(messages.at(0).foreign, Foreign::kTls);
    }
    if (id == "big-line") {
      ASSERT_EQ(messages.size(), 2U);
      EXPECT_TRUE(messages[0].truncated);
      EXPECT_FALSE(messages[1].truncated);
    }
    for (std::size_t split = 1; stream.size() < 200 && split < stream.size(); ++split) {
      EXPECT_TRUE(SameButForTheRest(messages, FastFrames(stream, {}, EndReason::kPeerClosed, {split, stream.size()}))) << id << " split at " << split;
    }
  }
}

void CompareValue(const json& value, const std::string& payload, const ParsedMessage& message, const std::string& id) {
  const auto text = [&](const char* name, std::string_view ours) { EXPECT_EQ(value.value(name, std::string()), ours) << id << " " << name; };
  EXPECT_EQ(value.at("Facility").get<int>(), message.facility.value_or(255)) << id;
  EXPECT_EQ(value.at("Severity").get<int>(), message.severity.value_or(255)) << id;
  text("Hostname", message.host);
  text("Appname", message.app);
  text("ProcID", message.pid);
  text("MsgID", message.msgid);
  const std::string theirs = value.contains("Message_b64") ? Input(value, "Message_b64") : std::string();
  std::string ours = Text(message.Message(AsBytes(payload)));
  if (theirs.substr(0, 3) == "\xef\xbb\xbf") ours.insert(0, "\xef\xbb\xbf");  // go-syslog leaves the mark in the message
  EXPECT_EQ(theirs, ours) << id;
  if (value.contains("Timestamp")) {
    auto stamp = value["Timestamp"].get<std::string>();
    if (stamp.substr(0, 4) == "0000") stamp.replace(0, 4, std::to_string(YearOf(message.claimed_ns.value_or(0))));
    EXPECT_EQ(FindTime(stamp, kReceived)->claimed_ns, message.claimed_ns.value_or(0)) << id;
  }
  json elements = json::object();
  for (const auto& element : message.elements) {
    elements[Text(element.id)] = json::object();
    for (std::uint32_t i = 0; i < element.parameter_count; ++i) {
      const auto& parameter = message.parameters[element.parameter_first + i];
      elements[Text(element.id)][Text(parameter.name)] = Unescape(parameter.value);
    }
  }
  EXPECT_EQ(value.value("StructuredData", json::object()), elements) << id;
}

TEST(Vectors, GoSyslogAgreesAboutRfc5424) {
  const auto vectors = Load("gosyslog_rfc5424.ndjson");
  NEEDS_CORPUS(vectors);
  std::set<int> different;
  for (const auto& vector : vectors) {
    const std::string payload = Input(vector);
    const auto message = ParseSyslog(AsBytes(payload), kReceived);
    EXPECT_EQ(PeekHost(AsBytes(payload), kReceived), message.host) << payload;
    // go-syslog takes every version up to 999, RFC 5424 section 6.2.2 knows one: apart from that flag, the rest must agree.
    const std::uint32_t version = message.version > 1 ? kBadVersion : 0U;
    const bool ours = message.format == Format::kRfc5424 && (message.problems & kInvalid5424 & ~version) == 0;
    const int number = vector.at("n").get<int>();
    const std::string id = "case " + std::to_string(number) + " " + EscapeForTerminal(AsBytes(payload));
    if (ours != vector.at("valid").get<bool>()) {
      different.insert(number);
      if (kGoSyslogDifferences.count(number) == 0) {
        ADD_FAILURE() << id << ": we say " << ProblemNames(message.problems) << ", they say " << vector.at("error");
      }
    } else if (ours) {
      CompareValue(vector.at("value"), payload, message, id);
    }
  }
  EXPECT_EQ(different, kGoSyslogDifferences);
}

TEST(Vectors, GoSyslogAgreesAboutRfc3164) {
  const auto vectors = Load("gosyslog_rfc3164.ndjson");
  NEEDS_CORPUS(vectors);
  for (const auto& vector : vectors) {
    const std::string payload = Input(vector);
    CompareValue(vector.at("value"), payload, ParseSyslog(AsBytes(payload), kReceived), payload);
  }
}

// Real devices: every frame of the recorded wire comes back byte for byte, and nearly every message shows a time.
TEST(Vectors, RecordedDevicesKeepEveryByte) {
  for (const char* name : {"sc4s_devices.oct", "wrccdc_udp514.oct"}) {
    std::ifstream file(CorpusDir() / "wire" / name, std::ios::binary);
    const std::string stream((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    NEEDS_CORPUS(stream);
    StreamFramer::Options options;
    options.framing = Framing::kCounted;
    const auto messages = FastFrames(stream, options, EndReason::kPeerClosed, {4096});
    std::string again;
    std::size_t timed = 0;
    for (const auto& message : messages) {
      ASSERT_FALSE(message.framing_error || message.incomplete || message.truncated);
      again += std::to_string(message.bytes.size()) + " " + message.bytes;
      const auto parsed = ParseSyslog(AsBytes(message.bytes), kReceived);
      if (parsed.claimed_ns) ++timed;
    }
    EXPECT_EQ(again, stream) << name;
    EXPECT_GT(timed * 10, messages.size() * 7) << name;
    RecordProperty(std::string("timed_") + name, static_cast<int>(timed));
  }
}

}  // namespace
}  // namespace stele::ingest
