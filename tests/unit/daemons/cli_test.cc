// Goal: the command line keeps its contract: exit status 2 with a reason on wrong usage, 3 where nothing runs, and nothing
// from a log reaches a terminal unescaped. Method: the real program for usage, its output functions for hostile rows.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "appliance/daemons/cli/client.h"
#include "appliance/daemons/cli/commands.h"
#include "appliance/daemons/cli/epoch_history.h"
#include "appliance/daemons/cli/output.h"

namespace stele::daemons::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Outcome {
  int status = -1;
  std::string output;  // both streams
};
Outcome Stele(const std::string& arguments) {
  Outcome run;
  const std::string command = std::string(STELE_BINARY_DIR) + "/bin/stele " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "re");
  if (pipe == nullptr) return run;
  std::array<char, 4096> part{};
  for (std::size_t n = 0; (n = std::fread(part.data(), 1, part.size(), pipe)) > 0;) run.output.append(part.data(), n);
  const int status = ::pclose(pipe);
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return run;
}

TEST(Cli, WrongUsageIsStatusTwoWithAReason) {
  for (const char* arguments : {"", "nonsense", "up --nonsense", "show", "show twelve", "show -1", "search --limit 0 x",
                                "search --limit 1001 x", "show 1 -o /tmp/x", "show 1 --raw --proof", "show 1 --raw --json",
                                "status extra", "search --from yesterday x --dir /nonexistent"}) {
    const Outcome run = Stele(arguments);
    EXPECT_EQ(run.status, 2) << arguments << "\n" << run.output;
    EXPECT_FALSE(run.output.empty()) << arguments;
  }
}

TEST(Cli, HelpAndVersionAreStatusZero) {
  EXPECT_EQ(Stele("--help").status, 0);
  EXPECT_EQ(Stele("up --help").status, 0);
  const Outcome version = Stele("--version");
  EXPECT_EQ(version.status, 0);
  EXPECT_EQ(version.output.rfind("stele ", 0), 0U);
}

TEST(Cli, WhereNothingRunsTheStatusIsThreeAndTheHintNamesTheCommand) {
  for (const char* command : {"status", "search x", "tail", "show 1"}) {
    const Outcome run = Stele(std::string(command) + " --dir /nonexistent/stele");
    EXPECT_EQ(run.status, 3) << command;
    EXPECT_NE(run.output.find("stele up --dir /nonexistent/stele"), std::string::npos) << run.output;
  }
  EXPECT_EQ(Stele("verify --dir /nonexistent/stele").status, 2);
}

TEST(Cli, AWrongConfigurationIsStatusTwoWithFileLineAndReason) {
  const fs::path file = fs::temp_directory_path() / ("stele-config-" + std::to_string(::getpid()) + ".toml");
  std::ofstream(file) << "[ingest]\n\nsyslog_udp_prot = 1\n";
  const Outcome run = Stele("up --dir /nonexistent/stele --config " + file.string());
  EXPECT_EQ(run.status, 2);
  EXPECT_NE(run.output.find(file.string() + ":3: unknown key ingest.syslog_udp_prot"), std::string::npos) << run.output;
  fs::remove(file);
}

bool HoldsControl(const std::string& text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n') || byte == 0x7f) return true;
  }
  return text.find("\xe2\x80\xae") != std::string::npos;  // U+202E, right-to-left override
}

json HostileRow() {
  const std::string hostile = std::string("\x1b]0;owned\x07\x1b[31m\r\n\b\x7f\x9b\xe2\x80\xae evil\0end", 33);
  json row = {{"seq", 7},
              {"time", hostile},
              {"kind", "syslog"},
              {"flags", {"truncated", hostile}},
              {"source", {{"peer", hostile}}},
              {"host", hostile},
              {"app", hostile},
              {"severity", 3},
              {"size", hostile.size()},
              {"payload_b64", Base64Of(AsBytes(hostile))}};
  return row;
}

TEST(Output, NoControlByteOfALogReachesTheTerminal) {
  const std::string line = RowLine(HostileRow());
  EXPECT_FALSE(HoldsControl(line)) << line;
  EXPECT_NE(line.find("\\x1b"), std::string::npos);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(Output, ARowOfTheWrongTypesIsStillOneLine) {
  for (const json& row : {json::object(), json{{"seq", "x"}, {"payload_b64", 3}, {"flags", 1}, {"source", "s"}},
                          json{{"payload_b64", "!!!!"}}, json{{"payload_b64", "YWJj"}, {"message", {{"offset", -5}, {"length", 99}}}},
                          json{{"payload_b64", "YWJj"}, {"message", {{"offset", 99}, {"length", 99}}}}, json(1), json()}) {
    const std::string line = RowLine(row);
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << row;
    EXPECT_FALSE(HoldsControl(line));
  }
}

TEST(Output, TheMessageIsASliceOfThePayload) {
  const json row = {{"seq", 1}, {"kind", "syslog"}, {"payload_b64", Base64Of(AsBytes("<13>head body"))}, {"size", 13},
                    {"message", {{"offset", 9}, {"length", 4}}}};
  const std::string line = RowLine(row);
  EXPECT_NE(line.find(" body\n"), std::string::npos) << line;
  EXPECT_EQ(line.find("<13>"), std::string::npos);
}

TEST(Output, DurationsAndSizesReadWell) {
  EXPECT_EQ(DurationText(850), "850 ms");
  EXPECT_EQ(DurationText(3'200), "3.2 s");
  EXPECT_EQ(DurationText(320'000), "5 min 20 s");
  EXPECT_EQ(DurationText(2LL * 86'400'000 + 3LL * 3'600'000), "2 d 3 h");
  EXPECT_EQ(SizeText(1'023), "1023 B");
  EXPECT_EQ(SizeText(1'536), "1.5 KiB");
}

TEST(Cli, TimesAreRfc3339OrNanosecondsOrAges) {
  const std::int64_t now = 1'000'000'000'000'000'000;
  EXPECT_EQ(TimeArgument("2026-11-21T03:00:00Z", now), "2026-11-21T03:00:00Z");
  EXPECT_EQ(TimeArgument("123456789012", now), "123456789012");
  EXPECT_EQ(TimeArgument("15m", now), std::to_string(now - 900LL * 1'000'000'000));
  EXPECT_EQ(TimeArgument("2h", now), std::to_string(now - 7'200LL * 1'000'000'000));
  for (const char* wrong : {"", "x", "-5m", "5y", "15 m", "99999999999999999999s", "99999999999d", "2026-13-01T00:00:00Z"}) {
    EXPECT_FALSE(TimeArgument(wrong, now)) << wrong;
  }
}

TEST(Cli, AnswersMapToTheExitStatus) {
  for (const auto& [status, exit] : std::vector<std::pair<int, ExitStatus>>{{200, kExitYes}, {400, kExitUsage}, {401, kExitNo},
                                                                            {403, kExitNo}, {404, kExitNo}, {413, kExitUsage},
                                                                            {429, kExitCannotTell}, {500, kExitCannotTell},
                                                                            {503, kExitCannotTell}}) {
    EXPECT_EQ((Answer{status, "", ""}.Exit()), exit) << status;
  }
}

TEST(Cli, ErrorsShowTheReasonEscaped) {
  const Answer answer{400, "application/json", "{\"error\":{\"code\":\"bad_query\",\"message\":\"what is \\u001b[31m\",\"column\":7}}"};
  EXPECT_EQ(answer.ErrorText(), "bad_query: what is \\x1b[31m (column 7)");
  EXPECT_EQ((Answer{500, "", "not json"}.ErrorText()), "status 500");
}

TEST(AnchorEntries, KeepTheNewestReceiptTheNewestAnchoredAndTheNewestTwoIntents) {
  AnchorEntries entries(Hash{});
  const std::string first = R"({"n":1,"anchor":1,"digest":")" + HexOf(Hash{}) + R"("})";
  const auto add = [&entries](record::Kind kind, const std::string& text) { entries.Add(kind, AsBytes(text)); };
  add(record::Kind::kCheckpoint, first);
  add(record::Kind::kAnchor, R"({"number":1})");
  add(record::Kind::kCheckpoint, R"({"n":2,"anchor":0})");
  channel::LogState state;
  entries.Into(state);
  EXPECT_EQ(state.intents, (std::vector<std::string>{first, R"({"n":2,"anchor":0})"}));
  EXPECT_EQ(state.last_receipt, R"({"number":1})");
  add(record::Kind::kCheckpoint, R"({"n":3,"anchor":0})");
  add(record::Kind::kCheckpoint, "not json");
  channel::LogState later;
  entries.Into(later);
  EXPECT_EQ(later.intents, (std::vector<std::string>{first, R"({"n":3,"anchor":0})", "not json"}));
}

}  // namespace
}  // namespace stele::daemons::cli
