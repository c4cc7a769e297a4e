// A few threads beside the loop: two for scans, one for what is quick (records, proofs, slices of live tails), one for
// password hashes. A slow search never keeps a record from being shown. Each reading thread has its own view of the store.
//
// A job runs on a thread and returns what the loop shall do with its result; the loop runs that in RunDone(). Nothing else
// is shared. Threads start with Start(), after the process has locked itself down.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/query/reads.h"

namespace stele::query {

enum class Lane : std::uint8_t { kHeavy, kQuick, kHash };
inline constexpr std::size_t kLaneCount = 3;
inline constexpr std::array<std::size_t, kLaneCount> kLaneThreads = {2, 1, 1};
inline constexpr std::size_t kLaneJobsMax = 256;

class Workers {
 public:
  // Opens the store; called on each reading thread, again after an error.
  using OpenReads = std::function<Result<std::unique_ptr<Reads>>()>;
  // On a thread. `reads` is refreshed to the announced position; nullptr when the store cannot be read, and on the hash lane.
  using Done = std::function<void()>;
  using Job = std::function<Done(Reads* reads)>;

  explicit Workers(OpenReads open_reads);
  ~Workers();  // lets running jobs finish, drops waiting ones
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  [[nodiscard]] Result<void> Start();
  // False when the lane is full.
  [[nodiscard]] bool Submit(Lane lane, Job job);
  void SetPosition(std::uint64_t size) { position_.store(size, std::memory_order_release); }
  [[nodiscard]] int done_fd() const { return done_fd_.get(); }  // readable when RunDone() has something to do
  void RunDone();
  // Why the store could not be opened or refreshed last time; empty when it could.
  [[nodiscard]] std::string problem();

 private:
  struct Queue {
    std::deque<Job> jobs;
    std::condition_variable wake;
  };
  void Run(Lane lane);
  [[nodiscard]] Reads* Ready(std::unique_ptr<Reads>& reads);

  OpenReads open_reads_;
  std::atomic<std::uint64_t> position_{0};
  std::mutex mutex_;
  std::array<Queue, kLaneCount> queues_;
  std::vector<Done> done_;
  std::string problem_;
  bool stopping_ = false;
  UniqueFd done_fd_;
  std::vector<std::thread> threads_;
};

}  // namespace stele::query
