// Goal: a witness that is killed at any moment never signs two histories of one log.
// Method: a child process answers requests of a log and of its fork, which a parent sends over a socket and answers by
// the signatures that came back; the parent kills it with SIGKILL at random moments and starts another on the same
// directory. All signatures that ever left are kept; at the end no two of them contradict each other.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <random>
#include <thread>

#include "appliance/base/system.h"
#include "appliance/witness/witness.h"
#include "tests/unit/witness/small_log.h"

namespace stele::witness {
namespace {

constexpr std::size_t kLeaves = 2'000;
constexpr std::size_t kKills = 60;

// Answers requests until it is killed: the reply is the status, and the lines where there are any.
[[noreturn]] void Serve(const std::filesystem::path& dir, int fd) {
  SystemClock clock;
  const auto witness = Witness::Open(dir, clock);
  if (!witness) ::_exit(1);
  std::array<char, 8192> request{};
  for (;;) {
    const ssize_t got = ::recv(fd, request.data(), request.size(), 0);
    if (got <= 0) ::_exit(0);
    const HttpAnswer answer = HttpAnswerOf((*witness)->AddCheckpoint({request.data(), static_cast<std::size_t>(got)}));
    const std::string reply = std::to_string(answer.status) + "\n" + answer.body;
    if (::send(fd, reply.data(), reply.size(), MSG_NOSIGNAL) < 0) ::_exit(0);
  }
}

struct Child {
  pid_t pid = -1;
  UniqueFd fd;
};
Child Start(const std::filesystem::path& dir) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    Serve(dir, ends[1]);
  }
  ::close(ends[1]);
  return {pid, UniqueFd(ends[0])};
}

TEST(WitnessKill, NeverSignsTwoHistories) {
  TemporaryDir dir;
  SmallLog log("log.invalid/a", kLeaves);
  SmallLog fork("log.invalid/a", kLeaves, 'b');
  MakeWitnessOf(dir.path(), "witness.invalid/w", {log.key()});
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::size_t signed_count = 0;
  std::size_t refused_count = 0;
  std::vector<std::pair<std::uint64_t, char>> signed_heads;  // size and history, in the order they left
  std::uint64_t size = 0;
  // On a busy machine a life may end before its first answer: more lives then.
  for (std::size_t life = 0; life < kKills || (signed_count <= kKills && life < 50 * kKills); ++life) {
    Child child = Start(dir.path());
    const auto lifetime = std::chrono::microseconds(random() % 40'000);
    std::thread killer([pid = child.pid, lifetime] {
      std::this_thread::sleep_for(lifetime);
      ::kill(pid, SIGKILL);
    });
    for (std::array<char, 8192> reply{};;) {
      const bool forked = random() % 2 == 0;
      SmallLog& history = forked ? fork : log;
      const std::string request = history.Request(size, std::min<std::uint64_t>(size + random() % 4, kLeaves));
      if (::send(child.fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) break;
      const ssize_t got = ::recv(child.fd.get(), reply.data(), reply.size(), 0);
      if (got <= 0) break;
      const std::string_view text(reply.data(), static_cast<std::size_t>(got));
      if (text.substr(0, 4) == "200\n") {
        const auto asked = ledger::ParseAddCheckpoint(request);
        const auto note = ledger::ParseNote(asked->note);
        const auto checkpoint = ledger::ParseCheckpoint(note->text);
        signed_heads.emplace_back(checkpoint->size, forked ? 'b' : 'a');
        size = checkpoint->size;
        ++signed_count;
      } else if (text.substr(0, 4) == "409\n") {  // it had made durable what it could not say any more
        const auto latest = ledger::ParseTreeSize(text.substr(4));
        ASSERT_TRUE(latest.has_value());
        if (*latest < size) FAIL() << "the witness went back from " << size << " to " << *latest;
        size = *latest;
        ++refused_count;
      } else {
        ASSERT_EQ(text.substr(0, 4), "422\n");
        ++refused_count;
      }
    }
    killer.join();
    ASSERT_EQ(::waitpid(child.pid, nullptr, 0), child.pid);
  }
  char history = 0;
  std::uint64_t last = 0;
  for (const auto& [at, which] : signed_heads) {
    EXPECT_GE(at, last) << "sizes never go back";
    if (at != 0 && history != 0) {
      EXPECT_EQ(which, history) << "two histories were signed, at " << at;
    }
    if (at != 0) history = which;
    last = at;
  }
  EXPECT_GT(signed_count, kKills) << "the test did too little";
  EXPECT_GT(refused_count, 0U);
}

}  // namespace
}  // namespace stele::witness
