// stele-reclaim: makes the log partitions of expired units free, at a start of the image, before they are sealed and
// before anything else runs. The initial RAM disk calls it (firmware/initrd); elsewhere `stele up` does the same.
//
//   stele-reclaim --dir DIR [--user UID] NODE...    one line for people, nothing where nothing was to do; 0: all is as
//   it should be
//
// It opens the partitions and gives up its rights: what it reads from then on may be hostile.
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "appliance/base/text.h"
#include "appliance/daemons/reclaim_at_start.h"

namespace stele::daemons {
namespace {

constexpr unsigned kSecondsMax = 3'600;  // a start is held up no longer; the next one goes on with what is half empty

struct Options {
  std::string dir;
  std::uint32_t user = 0;
  std::vector<std::string> nodes;
};

Result<void> BecomeUser(std::uint32_t user) {
  if (user == 0) return {};
  if (::setgroups(0, nullptr) != 0 || ::setresgid(user, user, user) != 0 || ::setresuid(user, user, user) != 0)
    return FailErrno("become user " + std::to_string(user));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FailErrno("give up further rights");
  return {};
}

// A pipe would hold the start up for ever. Nobody else runs yet who could change what is found here.
Result<void> OnlyPlainFiles(const Home& home) {
  std::vector<std::filesystem::path> read{home.Config()};
  std::error_code failed;
  for (std::filesystem::directory_iterator at(home.State(), failed), end; !failed && at != end; at.increment(failed)) {
    if (at->path().extension() == ".json") read.push_back(at->path());
  }
  for (const auto& path : read) {
    const auto status = std::filesystem::symlink_status(path, failed);
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      return Fail(Code::kDenied, path.string() + " is no plain file");
  }
  return {};
}

std::string ListOf(const std::vector<std::uint32_t>& units) {
  std::string text;
  for (const std::uint32_t unit : units) text += (text.empty() ? "" : ", ") + std::to_string(unit);
  return text;
}

Result<std::string> Work(const Options& options) {
  const Home home{options.dir};
  std::error_code failed;
  if (!std::filesystem::exists(ReclaimFile(home), failed)) return std::string();
  STELE_TRY_VOID(OnlyPlainFiles(home));
  STELE_TRY(const store::Medium medium, store::Medium::Open({home.Store(), options.nodes}, store::MediumUse::kAppend));
  STELE_TRY_VOID(BecomeUser(options.user));
  STELE_TRY(const Config config, LoadConfig(home.Config(), false));
  STELE_TRY(const store::Reclaimed done, ReclaimAtStart(home, config, medium));
  const bool idle = done.units.empty() && done.refused.empty();
  if (idle) return std::string();  // all orders were followed before
  std::string words =
      done.units.empty() ? "no unit reclaimed" : "units " + ListOf(done.units) + " have expired and are free";
  for (const std::string& refused : done.refused) words += "; " + refused;
  return words;
}

}  // namespace
}  // namespace stele::daemons

int main(int argc, char** argv) {
  try {
    stele::daemons::Options options;
    CLI::App app("Makes the log partitions of expired units free");
    app.add_option("--dir", options.dir, "Stele's directory")->required();
    app.add_option("--user", options.user, "whose rights are enough when the partitions are open");
    app.add_option("nodes", options.nodes, "log partitions");
    CLI11_PARSE(app, argc, argv);
    (void)::alarm(stele::daemons::kSecondsMax);
    const auto words = stele::daemons::Work(options);
    const std::string line = words ? *words : "nothing reclaimed: " + stele::Describe(words.error());
    if (!line.empty()) std::printf("%s\n", stele::EscapeForTerminal(stele::AsBytes(line)).c_str());
    return words ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("nothing reclaimed: %s\n", error.what());
    return 1;
  }
}
