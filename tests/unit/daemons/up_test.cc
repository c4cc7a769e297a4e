// Goal: `stele up` runs the whole appliance: starts, serves, survives the death of any process, stops cleanly, and what it
// prints is harmless. Method: the real programs, real sockets, a real swtpm.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/unit/daemons/running_stele.h"

namespace stele::daemons {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::milliseconds;

constexpr const char* kMembers[] = {"stele-receive", "stele-ledger", "stele-anchor", "stele-query", "stele-web"};

std::string ProcStatus(pid_t pid, const std::string& name) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(name + ":", 0) == 0) return line.substr(line.find_first_not_of(" \t", name.size() + 1));
  }
  return {};
}

// An orphan that nobody buries is dead, too.
bool Lives(pid_t pid) {
  const std::string state = ProcStatus(pid, "State");
  return !state.empty() && state[0] != 'Z';
}

json Parsed(const Outcome& outcome) { return json::parse(outcome.output, nullptr, false); }

TEST(Up, StartsServesAndStops) {
  RunningStele stele;
  ASSERT_TRUE(stele.Start());
  const json ready = stele.Ready();
  for (const char* port : {"syslog-udp", "syslog-tcp", "https-json", "viewer"}) EXPECT_GT(ready["ports"][port].get<int>(), 0);
  EXPECT_EQ(ready["tpm"], "embedded");
  EXPECT_EQ(ready["urls"]["viewer"], "https://localhost:" + std::to_string(ready["ports"]["viewer"].get<int>()) + "/");

  ASSERT_TRUE(stele.SendUdp("<13>1 2026-11-21T03:00:00Z host1 app1 77 - - the first message"));
  const json rows = stele.SearchUntil("first", 1);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["host"], "host1");
  const std::string sequence = std::to_string(rows[0]["seq"].get<std::uint64_t>());

  const Outcome shown = stele.Cli({"show", sequence});
  EXPECT_EQ(shown.status, 0) << shown.output;
  EXPECT_NE(shown.output.find("the first message"), std::string::npos);
  const Outcome raw = stele.Cli({"show", sequence, "--raw"});
  EXPECT_EQ(raw.output, "<13>1 2026-11-21T03:00:00Z host1 app1 77 - - the first message");
  EXPECT_EQ(stele.Cli({"show", "999999999"}).status, 1);
  EXPECT_EQ(stele.Cli({"search", "((("}).status, 2);

  const Outcome status = stele.Cli({"status"});
  EXPECT_EQ(status.status, 0) << status.output;
  const json status_json = Parsed(stele.Cli({"status", "--json"}));
  ASSERT_TRUE(status_json.is_object());
  EXPECT_EQ(status_json["log_id"], ready["log_id"]);

  const Outcome live = stele.Cli({"verify", "--json"});
  EXPECT_EQ(live.status, 0) << live.output;
  EXPECT_EQ(Parsed(live)["tpm"]["source"], "live");

  EXPECT_EQ(stele.Stop(SIGTERM), 0) << stele.Output();
  EXPECT_FALSE(fs::exists(stele.dir() / "run" / "ready.json"));
  EXPECT_EQ(stele.Cli({"status"}).status, 3);
  const Outcome stopped = stele.Cli({"verify", "--json"});
  EXPECT_EQ(stopped.status, 0) << stopped.output << stele.Output();
  EXPECT_EQ(Parsed(stopped)["tpm"]["source"], "copy");
  EXPECT_EQ(Parsed(stopped)["word"], "OK") << stopped.output;
}

TEST(Up, EveryProcessIsLockedDownInASessionOfItsOwn) {
  RunningStele stele;
  ASSERT_TRUE(stele.Start());
  const json ready = stele.Ready();
  for (const char* member : kMembers) {
    const pid_t pid = ready["pids"][member].get<pid_t>();
    EXPECT_EQ(ProcStatus(pid, "NoNewPrivs"), "1") << member;
    EXPECT_EQ(ProcStatus(pid, "Seccomp"), "2") << member;
    EXPECT_EQ(ProcStatus(pid, "CapEff"), "0000000000000000") << member;
    EXPECT_EQ(ProcStatus(pid, "CapPrm"), "0000000000000000") << member;
    EXPECT_EQ(::getsid(pid), pid) << member;
    EXPECT_TRUE(ready["ready"][member].is_object()) << member;
  }
}

TEST(Up, AnyProcessThatDiesIsStartedAgainAndServes) {
  RunningStele stele;
  ASSERT_TRUE(stele.Start());
  std::size_t sent = 0;
  for (const char* member : kMembers) {
    ASSERT_TRUE(stele.SendUdp("<13>1 - host app - - - round " + std::to_string(sent))) << member;
    ASSERT_EQ(stele.SearchUntil("round", ++sent).size(), sent) << member << "\n" << stele.Output();
    const pid_t before = stele.Ready()["pids"][member].get<pid_t>();
    ASSERT_EQ(::kill(before, SIGKILL), 0);
    const auto until = std::chrono::steady_clock::now() + milliseconds(20'000);
    json now;
    do {
      std::this_thread::sleep_for(milliseconds(50));
      now = stele.Ready();
    } while ((!now.is_object() || now["pids"][member] == before || now["pids"][member] == -1) &&
             std::chrono::steady_clock::now() < until);
    ASSERT_TRUE(now.is_object());
    ASSERT_NE(now["pids"][member], before) << member << "\n" << stele.Output();
  }
  ASSERT_TRUE(stele.SendUdp("<13>1 - host app - - - round " + std::to_string(sent)));
  EXPECT_EQ(stele.SearchUntil("round", sent + 1).size(), sent + 1) << stele.Output();
  EXPECT_EQ(stele.Stop(SIGINT), 0) << stele.Output();
  const Outcome verified = stele.Cli({"verify"});
  EXPECT_EQ(verified.status, 0) << verified.output;
}

TEST(Up, ASecondOneInTheSameDirectoryIsRefused) {
  RunningStele stele;
  ASSERT_TRUE(stele.Start());
  const Outcome second = stele.Cli({"up"});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.output.find("already runs"), std::string::npos) << second.output;
}

TEST(Up, SecretsArePrivateAndThePasswordIsShownOnce) {
  RunningStele stele;
  ASSERT_TRUE(stele.Start());
  const std::string first = stele.Output();
  EXPECT_NE(first.find("password"), std::string::npos);
  for (const auto& entry : fs::recursive_directory_iterator(stele.dir() / "keys")) {
    struct stat status {};
    ASSERT_EQ(::stat(entry.path().c_str(), &status), 0);
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".pem") && name != "provisioning.pem") continue;  // certificates
    EXPECT_EQ(status.st_mode & 077U, 0U) << name;
  }
  const std::string log_id = stele.Ready()["log_id"];
  ASSERT_EQ(stele.Stop(SIGTERM), 0);
  ASSERT_TRUE(stele.Start());
  EXPECT_EQ(stele.Ready()["log_id"], log_id);
  EXPECT_EQ(stele.Output().find("password "), std::string::npos) << stele.Output();
}

TEST(Up, AKilledSupervisorLeavesNobodyAndTheNextStartRecovers) {
  RunningStele stele;
  ASSERT_TRUE(stele.Start());
  ASSERT_TRUE(stele.SendUdp("<13>1 - host app - - - before the crash"));
  ASSERT_EQ(stele.SearchUntil("crash", 1).size(), 1U);
  const json pids = stele.Ready()["pids"];
  stele.Kill();
  std::this_thread::sleep_for(milliseconds(500));
  for (const char* member : kMembers) EXPECT_FALSE(Lives(pids[member].get<pid_t>())) << member;
  fs::remove(stele.dir() / "run" / "ready.json");
  ASSERT_TRUE(stele.Start());
  EXPECT_EQ(stele.SearchUntil("crash", 1).size(), 1U);
  EXPECT_EQ(stele.Cli({"status"}).status, 0) << stele.Output();
}

TEST(Up, NoControlByteOfALogReachesATerminalOrAPipe) {
  RunningStele stele;
  ASSERT_TRUE(stele.Start());
  ASSERT_TRUE(stele.SendUdp(std::string("<13>1 - \x1b[31mhost app\x07 - - - marker \x1b]0;owned\x07\r\n\b\x7f\x9b \xe2\x80\xae evil", 55)));
  const json rows = stele.SearchUntil("marker", 1);
  ASSERT_EQ(rows.size(), 1U);
  const std::string sequence = std::to_string(rows[0]["seq"].get<std::uint64_t>());
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"search", "marker"}, {"search", "marker", "--json"}, {"show", sequence},
        {"show", sequence, "--proof"}, {"show", sequence, "--json"}, {"status"}, {"status", "--json"}, {"verify"}}) {
    for (const bool terminal : {false, true}) {
      const Outcome outcome = terminal ? stele.CliOnTerminal(command) : stele.Cli(command);
      EXPECT_EQ(outcome.status, 0) << command[0] << outcome.output;
      for (std::size_t i = 0; i < outcome.output.size(); ++i) {
        const auto byte = static_cast<unsigned char>(outcome.output[i]);
        const bool line_end = byte == '\n' || (terminal && byte == '\r');  // the terminal makes \r\n of \n
        ASSERT_TRUE((byte >= 0x20 && byte != 0x7f) || line_end) << command[0] << " byte " << int{byte} << " at " << i;
      }
      EXPECT_EQ(outcome.output.find("\xe2\x80\xae"), std::string::npos) << command[0];
    }
  }
}

TEST(Up, ProofFilesAreWrittenForStockTools) {
  RunningStele stele;
  ASSERT_TRUE(stele.Start());
  ASSERT_TRUE(stele.SendUdp("<13>1 - host app - - - evidence"));
  const json rows = stele.SearchUntil("evidence", 1);
  ASSERT_EQ(rows.size(), 1U);
  std::this_thread::sleep_for(milliseconds(1'000));  // a checkpoint that covers it
  const fs::path out = stele.dir() / "evidence";
  const Outcome written =
      stele.Cli({"show", std::to_string(rows[0]["seq"].get<std::uint64_t>()), "--proof", "-o", out.string()});
  ASSERT_EQ(written.status, 0) << written.output;
  EXPECT_EQ(fs::file_size(out / "entry.bin"), 92U);
  EXPECT_EQ(fs::file_size(out / "salt.bin"), 16U);
  EXPECT_EQ(fs::file_size(out / "peer.bin"), 18U);
  for (const char* name : {"payload.bin", "checkpoint", "log.vkey", "record.tlog-proof", "README"}) {
    EXPECT_GT(fs::file_size(out / name), 0U) << name;
  }
}

}  // namespace
}  // namespace stele::daemons
