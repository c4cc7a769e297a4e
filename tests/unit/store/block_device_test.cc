// Goal: a log on real block devices: aligned direct writes, seals that the kernel keeps, kill -9 at any moment, and every wrong
// configuration refused. Method: loop devices (root; skipped otherwise), with sectors of 512 and of 4,096 bytes.
#include "appliance/store/block_device.h"

#include <linux/fs.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <list>

#include "appliance/store/medium.h"
#include "firmware/guard/seal_mark.h"
#include "tests/unit/store/loop_device.h"
#include "tests/unit/store/store_fixture.h"

namespace stele::store {
namespace {

namespace fs = std::filesystem;

class BlockDevices : public testing::TestWithParam<std::uint32_t> {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "loop devices need root";
    folder_ = (fs::temp_directory_path() / "stele-nodes-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  // log-NUMBER in the folder, as udev or the initial RAM disk name partitions.
  bool Add(std::uint32_t number, std::uint64_t size_bytes = limits::kMiB) {
    loops_.emplace_back(size_bytes, GetParam());
    if (!loops_.back().valid()) return false;
    fs::create_symlink(loops_.back().node(), folder_ + "/log-" + std::to_string(number));
    return true;
  }
  [[nodiscard]] MediumPlace Place() const { return {{}, {folder_ + "/log-*"}}; }
  Result<OpenedShelf> Shelf(MediumUse use) const {
    STELE_TRY(const Medium medium, Medium::Open(Place(), use));
    return medium.Shelf(TestLog::LogId());
  }
  static bool ReadOnly(const LoopDevice& loop) {
    int value = 0;
    return ::ioctl(loop.fd(), BLKROGET, &value) == 0 && value == 1;
  }

  std::string folder_;
  std::list<LoopDevice> loops_;
};
#define NEEDS_LOOP(condition) \
  if (!(condition)) GTEST_SKIP() << "no loop device can be had here"

TEST_P(BlockDevices, ALogFillsThemSealsThemAndIsReadBack) {
  for (std::uint32_t i = 0; i < 4; ++i) NEEDS_LOOP(Add(i));
  TestLog log;
  auto shelf = Shelf(MediumUse::kAppend);
  ASSERT_TRUE(shelf) << shelf.error().context;
  log.On(*shelf->shelf);
  log.Open();
  while (log.store().unit() < 2) ASSERT_TRUE(log.Write(log.MakeBatch(200)));
  std::uint32_t number = 0;
  for (const LoopDevice& loop : loops_) {
    EXPECT_EQ(ReadOnly(loop), number < 2) << number;
    const char byte = 'x';
    if (number < 2) {
      EXPECT_LT(::pwrite(loop.fd(), &byte, 1, 100'000), 0) << number << " takes a write";
    }
    ++number;
  }
  for (const MediumUse use : {MediumUse::kRead, MediumUse::kReadDirect}) {  // while it is open for writing, as stele-query does
    const auto readers = Shelf(use);
    ASSERT_TRUE(readers) << readers.error().context;
    const auto report = VerifyStore(*readers->shelf, {});
    ASSERT_TRUE(report);
    EXPECT_EQ(report->word, "OK_UNANCHORED_TAIL") << report->detail;
    EXPECT_EQ(report->records, log.leaves().size());
    EXPECT_EQ((*LogReader::Open(*readers->shelf))->size(), log.leaves().size());
  }
  log.Close();
  shelf->shelf.reset();
  auto again = Shelf(MediumUse::kAppend);
  ASSERT_TRUE(again) << again.error().context;
  EXPECT_EQ(again->partitions->Use().read_only, 2U);
  log.On(*again->shelf);
  log.Open();
  EXPECT_FALSE(log.tail().damaged) << log.tail().detail;
  EXPECT_EQ(log.tail().size(), log.leaves().size());
  while (log.store().unit() < 3) ASSERT_TRUE(log.Write(log.MakeBatch(200)));
  EXPECT_EQ(VerifyStore(*again->shelf, {})->word, "OK_UNANCHORED_TAIL");
  EXPECT_FALSE(again->shelf->Create(4, 0)) << "no partition is left";
}

TEST_P(BlockDevices, KillDashNineLosesNothingThatWasCommitted) {
  for (std::uint32_t i = 0; i < 6; ++i) NEEDS_LOOP(Add(i));
  std::uint64_t committed = 0;
  for (int round = 0; round < 4; ++round) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    UniqueFd in(pipe[0]);
    UniqueFd out(pipe[1]);
    const pid_t child = ::fork();
    if (child == 0) {
      TestLog log(0, static_cast<std::uint64_t>(round) + 10);
      auto shelf = Shelf(MediumUse::kAppend);
      if (!shelf) ::_exit(1);
      log.On(*shelf->shelf);
      log.Open();
      while (log.Write(log.MakeBatch(40))) {
        const std::uint64_t size = log.sequencer().size();
        if (::write(out.get(), &size, sizeof size) != sizeof size) break;
      }
      ::_exit(0);
    }
    out.reset();
    std::uint64_t size = 0;
    for (int i = 0; i < 60 + round * 17; ++i) {
      if (::read(in.get(), &size, sizeof size) != sizeof size) break;
      committed = size;
    }
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself";
    while (::read(in.get(), &size, sizeof size) == sizeof size) committed = size;
    const auto readers = Shelf(MediumUse::kReadDirect);
    ASSERT_TRUE(readers) << readers.error().context;
    const auto report = VerifyStore(*readers->shelf, {});
    ASSERT_TRUE(report);
    EXPECT_FALSE(report->first_bad) << report->word << " " << report->detail;
    EXPECT_GE(report->records, committed);
  }
  EXPECT_GT(committed, 5'000U);
}

TEST_P(BlockDevices, TheWriterIsAlone) {
  NEEDS_LOOP(Add(0));
  const auto writer = OpenPartitions(Place().partitions, MediumUse::kAppend);
  ASSERT_TRUE(writer) << writer.error().context;
  EXPECT_TRUE(writer->front().writable);
  const auto second = OpenPartitions(Place().partitions, MediumUse::kAppend);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kDenied);
  EXPECT_NE(second.error().context.find("another process writes it"), std::string::npos);
  EXPECT_TRUE(OpenPartitions(Place().partitions, MediumUse::kRead));
}

TEST_P(BlockDevices, OneDeviceByTwoNamesAndWhatIsNoneAreRefused) {
  NEEDS_LOOP(Add(0));
  const std::string first = folder_ + "/log-0";
  fs::create_symlink(loops_.front().node(), folder_ + "/other");
  auto opened = OpenPartitions({first, folder_ + "/other"}, MediumUse::kAppend);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().context, "store.partitions: " + first + " and " + folder_ + "/other are the same device");
  opened = OpenPartitions({first, folder_ + "/log-?"}, MediumUse::kAppend);
  EXPECT_FALSE(opened);
  opened = OpenPartitions({"/dev/null"}, MediumUse::kAppend);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().context, "/dev/null is not a block device");
  opened = OpenPartitions({first, folder_ + "/none-*"}, MediumUse::kAppend);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kNotFound);
}

TEST_P(BlockDevices, NumbersInNamesCountByValue) {
  for (const std::uint32_t number : {10U, 2U, 1U}) NEEDS_LOOP(Add(number));
  const auto opened = OpenPartitions(Place().partitions, MediumUse::kRead);
  ASSERT_TRUE(opened) << opened.error().context;
  std::vector<std::string> names;
  for (const Partition& partition : *opened) names.push_back(fs::path(partition.name).filename());
  EXPECT_EQ(names, (std::vector<std::string>{"log-1", "log-2", "log-10"}));
}

TEST_P(BlockDevices, ReadsOfAnyPlaceAndLengthGiveTheSameBytes) {
  NEEDS_LOOP(Add(0, 3 * limits::kMiB));
  std::mt19937_64 random(5);
  Bytes content(3 * limits::kMiB);
  for (auto& b : content) b = static_cast<std::byte>(random() & 0xffU);
  const auto writer = OpenPartitions(Place().partitions, MediumUse::kAppend);
  ASSERT_TRUE(writer) << writer.error().context;
  ASSERT_TRUE(writer->front().device->Write(0, content));
  ASSERT_TRUE(writer->front().device->Sync());
  const auto reader = OpenPartitions(Place().partitions, MediumUse::kRead);
  ASSERT_TRUE(reader);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t at = random() % content.size();
    Bytes out(random() % std::min<std::uint64_t>(content.size() - at, i < 20 ? 2'500'000 : 9'000), std::byte{0xaa});
    for (Device* device : {writer->front().device.get(), reader->front().device.get()}) {
      ASSERT_TRUE(device->Read(at, out));
      ASSERT_TRUE(std::equal(out.begin(), out.end(), content.begin() + static_cast<std::ptrdiff_t>(at))) << at << "+" << out.size();
    }
  }
  Bytes one(1);
  EXPECT_FALSE(reader->front().device->Read(content.size(), one));
  EXPECT_FALSE(writer->front().device->Write(content.size(), Bytes(limits::kSectorBytes)));
}

INSTANTIATE_TEST_SUITE_P(Sectors, BlockDevices, testing::Values(512U, 4096U));

}  // namespace
}  // namespace stele::store
