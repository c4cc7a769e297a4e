// A whole appliance for a test: the real `stele up` in a folder of its own, on free ports of the loopback.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace stele::daemons {

struct Outcome {
  int status = -1;     // exit status, 128 + signal, or -1
  std::string output;  // both streams
};

class RunningStele {
 public:
  RunningStele();   // makes the folder and stele.toml; does not start
  ~RunningStele();  // ends what still runs, removes the folder
  RunningStele(const RunningStele&) = delete;
  RunningStele& operator=(const RunningStele&) = delete;

  // Starts `stele up` and waits for run/ready.json. False, with the output printed, when it does not come.
  [[nodiscard]] bool Start();
  [[nodiscard]] int Stop(int signal);  // exit status of `stele up`
  void Kill();                         // SIGKILL to the supervisor
  [[nodiscard]] bool WaitReady(std::chrono::milliseconds limit);

  [[nodiscard]] const std::filesystem::path& dir() const { return dir_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] nlohmann::json Ready() const;    // run/ready.json, null when it is not there
  [[nodiscard]] std::string Output() const;      // of `stele up`, so far
  [[nodiscard]] Outcome Cli(const std::vector<std::string>& arguments) const;       // stele ARGS --dir DIR
  [[nodiscard]] Outcome CliOnTerminal(const std::vector<std::string>& arguments) const;  // the same on a pty

  [[nodiscard]] bool SendUdp(const std::string& message, std::uint16_t port = 0) const;  // 0: of the only zone
  // Searches until so many rows are found; the rows, newest first.
  [[nodiscard]] nlohmann::json SearchUntil(const std::string& query, std::size_t row_count,
                                           std::chrono::milliseconds limit = std::chrono::milliseconds(10'000)) const;

 private:
  std::filesystem::path dir_;
  pid_t pid_ = -1;
};

}  // namespace stele::daemons
