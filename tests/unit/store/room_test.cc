// Goal: a disk without room is no damage: spare units are made ahead and never lost, what is left is given out in order
// of need, and when room returns the log goes on in the same units. Method: the real store on a simulated disk with a
// bounded number of units, and on files.
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "appliance/store/admission.h"
#include "appliance/store/file_device.h"
#include "tests/unit/store/store_fixture.h"

namespace stele::store {
namespace {

namespace fs = std::filesystem;

TEST(Admission, PayloadStopsFirstThenReadingAndTheLogItselfNever) {
  constexpr std::uint64_t kReserve = 8'000;
  EXPECT_TRUE(Admits(Need::kPayload, 10'000, 2'000, kReserve));
  EXPECT_FALSE(Admits(Need::kPayload, 10'000, 2'001, kReserve));
  EXPECT_TRUE(Admits(Need::kAccess, 10'000, 6'000, kReserve));
  EXPECT_FALSE(Admits(Need::kAccess, 10'000, 6'001, kReserve));
  EXPECT_TRUE(Admits(Need::kRoutine, 10'000, 9'000, kReserve));
  EXPECT_FALSE(Admits(Need::kRoutine, 10'000, 9'001, kReserve));
  EXPECT_TRUE(Admits(Need::kClosing, 10'000, 10'000, kReserve));
  EXPECT_FALSE(Admits(Need::kClosing, 10'000, 10'001, kReserve));
  EXPECT_FALSE(Admits(Need::kClosing, 0, ~std::uint64_t{0}, kReserve));
}

TEST(Store, SpareUnitsAreMadeAheadAndUsedInTheirOrder) {
  TestLog log;
  log.Open();
  const std::uint64_t before = log.store().RoomBytes();
  ASSERT_TRUE(log.store().Prepare(before + limits::kMiB));
  EXPECT_GE(log.store().RoomBytes(), before + limits::kMiB);
  const std::size_t units = log.shelf().units().size();
  EXPECT_EQ(units, 3U);  // a unit holds a little less than its size
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(log.Write(log.MakeBatch(200)));
  const auto report = VerifyStore(log.shelf(), {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->word, "OK_UNANCHORED_TAIL") << report->detail;
  EXPECT_EQ(report->records, log.leaves().size());
  EXPECT_EQ(report->abandoned_bytes, 0U);
}

TEST(Store, ARestartTakesItsSparesUpAgainAndGivesNothingUp) {
  TestLog log;
  log.Open();
  for (int round = 0; round < 8; ++round) {
    ASSERT_TRUE(log.store().Prepare(3 * limits::kMiB));
    ASSERT_TRUE(log.Write(log.MakeBatch(1 + log.random()() % 900)));
    const std::size_t units = log.shelf().units().size();
    const std::uint64_t room = log.store().RoomBytes();
    log.Close();
    const auto stopped = VerifyStore(log.shelf(), {});
    ASSERT_TRUE(stopped);
    EXPECT_EQ(stopped->word, "OK_UNANCHORED_TAIL") << stopped->detail;
    log.Open();
    EXPECT_FALSE(log.tail().damaged) << log.tail().detail;
    EXPECT_TRUE(log.tail().abandons.empty());
    EXPECT_EQ(log.tail().spares.size(), units - 1 - log.tail().unit);
    EXPECT_EQ(log.shelf().units().size(), units);
    EXPECT_EQ(log.store().RoomBytes(), room);
    ASSERT_EQ(log.tail().size(), log.leaves().size());
  }
  auto reader = LogReader::Open(log.shelf());
  ASSERT_TRUE(reader);
  EXPECT_EQ((*reader)->damage(), "");
  EXPECT_EQ((*reader)->size(), log.leaves().size());
}

TEST(Store, AFreshLogWhoseUnitsWereNeverBegunBeginsWithThem) {
  TestLog log;
  ASSERT_TRUE(log.shelf().Create(0, limits::kMiB));
  ASSERT_TRUE(log.shelf().Create(1, limits::kMiB));
  log.Open();
  EXPECT_TRUE(log.tail().fresh);
  ASSERT_TRUE(log.Write(log.MakeBatch(10)));
  EXPECT_EQ(log.shelf().units().size(), 2U);
  EXPECT_EQ(VerifyStore(log.shelf(), {})->records, 10U);
}

TEST(Store, WithoutAFurtherUnitTheLastOneStaysOpenForWhatStillFits) {
  TestLog log;
  log.Open();
  log.shelf().units_max = 2;
  std::size_t refused = 0;
  for (int i = 0; i < 200; ++i) refused += log.Write(log.MakeBatch(100)) ? 0U : 1U;
  ASSERT_GT(refused, 20U);
  EXPECT_FALSE(log.store().Prepare(limits::kMiB));
  EXPECT_EQ(log.shelf().units().size(), 2U);
  // Small entries of the log's own still find room: the unit was not sealed for want of a successor.
  ASSERT_GT(log.store().RoomBytes(), limits::kSectorBytes);
  std::size_t small = 0;
  while (small < 1'000 && log.Write(log.MakeBatch(1, 100))) ++small;
  EXPECT_GE(small, 1U);
  log.Close();
  EXPECT_EQ(VerifyStore(log.shelf(), {})->word, "OK_UNANCHORED_TAIL");
  log.Open();
  ASSERT_EQ(log.tail().size(), log.leaves().size());
  EXPECT_FALSE(log.Write(log.MakeBatch(100)));
  log.shelf().units_max = 5;
  ASSERT_TRUE(log.store().Prepare(limits::kMiB));
  ASSERT_TRUE(log.Write(log.MakeBatch(300)));
  const auto report = VerifyStore(log.shelf(), {});
  EXPECT_EQ(report->word, "OK_UNANCHORED_TAIL") << report->detail;
  EXPECT_EQ(report->records, log.leaves().size());
}

TEST(Verify, ASpareUnitIsNoCrashAndOneWithBytesInItsFirstSectorIsDamage) {
  TestLog log;
  log.Open();
  ASSERT_TRUE(log.Write(log.MakeBatch(20)));
  ASSERT_TRUE(log.store().Prepare(2 * limits::kMiB));
  log.Close();
  EXPECT_EQ(VerifyStore(log.shelf(), {})->word, "OK_UNANCHORED_TAIL");
  auto& spare = *log.shelf().units().rbegin()->second;
  spare.durable[100] = std::byte{1};
  spare.volatile_image = spare.durable;
  EXPECT_EQ(VerifyStore(log.shelf(), {})->word, "DAMAGED");
  EXPECT_TRUE(ReadTail(log.shelf())->damaged);
}

struct Folder {
  Folder() : path((fs::temp_directory_path() / "stele-room-XXXXXX").string()) {
    if (::mkdtemp(path.data()) == nullptr) std::abort();
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string path;
};

TEST(FileShelf, AUnitThatWasBegunIsNeverMadeAnew) {
  const Folder folder;
  FileShelf shelf(folder.path);
  auto made = shelf.Create(0, limits::kMiB);
  ASSERT_TRUE(made) << made.error().context;
  ASSERT_TRUE(shelf.Create(0, limits::kMiB));  // never begun
  ASSERT_TRUE((*made)->Write(0, Bytes(limits::kSectorBytes, std::byte{7})));
  const auto again = shelf.Create(0, limits::kMiB);
  ASSERT_FALSE(again);
  Bytes sector(limits::kSectorBytes);
  ASSERT_TRUE((*made)->Read(0, sector));
  EXPECT_EQ(sector, Bytes(limits::kSectorBytes, std::byte{7}));
}

TEST(FileShelf, AUnitHasItsRoomFromTheStart) {
  const Folder folder;
  FileShelf shelf(folder.path);
  const auto made = shelf.Create(0, 8 * limits::kMiB);
  ASSERT_TRUE(made) << made.error().context;
  struct stat status {};
  ASSERT_EQ(::stat((folder.path + "/" + FileShelf::NameOf(0)).c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), 8 * limits::kMiB);
  EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512, 8 * limits::kMiB);
}

}  // namespace
}  // namespace stele::store
