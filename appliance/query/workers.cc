#include "appliance/query/workers.h"

#include <sys/eventfd.h>

#include <exception>

namespace stele::query {

Workers::Workers(OpenReads open_reads) : open_reads_(std::move(open_reads)) {}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (Queue& queue : queues_) {
      queue.jobs.clear();
      queue.wake.notify_all();
    }
  }
  for (std::thread& thread : threads_) thread.join();
}

Result<void> Workers::Start() {
  done_fd_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!done_fd_.valid()) return FailErrno("make an eventfd");
  try {
    for (std::size_t lane = 0; lane < kLaneCount; ++lane) {
      for (std::size_t i = 0; i < kLaneThreads[lane]; ++i) {
        threads_.emplace_back([this, lane] { Run(static_cast<Lane>(lane)); });
      }
    }
  } catch (const std::exception& error) {
    return Fail(Code::kUnavailable, std::string("start a thread: ") + error.what());
  }
  return {};
}

bool Workers::Submit(Lane lane, Job job) {
  Queue& queue = queues_[static_cast<std::size_t>(lane)];
  const std::lock_guard lock(mutex_);
  if (queue.jobs.size() >= kLaneJobsMax || stopping_) return false;
  queue.jobs.push_back(std::move(job));
  queue.wake.notify_one();
  return true;
}

void Workers::RunDone() {
  std::uint64_t count = 0;
  (void)!::read(done_fd_.get(), &count, sizeof count);  // only clears the signal; the list below is the truth
  std::vector<Done> done;
  {
    const std::lock_guard lock(mutex_);
    done.swap(done_);
  }
  for (Done& then : done) then();
}

std::string Workers::problem() {
  const std::lock_guard lock(mutex_);
  return problem_;
}

// The thread's view of the store up to the announced position, opened anew when it cannot be brought up to date.
Reads* Workers::Ready(std::unique_ptr<Reads>& reads) {
  const std::uint64_t position = position_.load(std::memory_order_acquire);
  Result<void> state;
  if (reads) state = reads->Refresh(position);
  if (!reads || !state) {
    reads.reset();
    auto opened = open_reads_();
    if (opened) {
      reads = std::move(*opened);
      state = reads->Refresh(position);
    } else {
      state = tl::unexpected(opened.error());
    }
  }
  const std::lock_guard lock(mutex_);
  problem_ = !state ? Describe(state.error()) : reads ? reads->damage() : std::string{};
  return reads.get();  // a damaged end leaves what lies before it readable
}

void Workers::Run(Lane lane) {
  Queue& queue = queues_[static_cast<std::size_t>(lane)];
  std::unique_ptr<Reads> reads;
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      queue.wake.wait(lock, [&] { return stopping_ || !queue.jobs.empty(); });
      if (stopping_) return;
      job = std::move(queue.jobs.front());
      queue.jobs.pop_front();
    }
    Done done = job(lane == Lane::kHash ? nullptr : Ready(reads));
    {
      const std::lock_guard lock(mutex_);
      done_.push_back(std::move(done));
    }
    const std::uint64_t one = 1;
    (void)!::write(done_fd_.get(), &one, sizeof one);  // fails only when the counter is full: then it is readable anyway
  }
}

}  // namespace stele::query
