// Goal: bytes are where they were put, and what has no room is not begun. Method: plain files as devices.
#include "firmware/update/placing.h"

#include <gtest/gtest.h>

#include "appliance/base/system.h"
#include "tests/unit/update/temporary_folder.h"

namespace stele::update {
namespace {

const Bytes kContent(3 << 20, std::byte{0x5a});

TEST(Placing, ADeviceHoldsTheContentAtItsBeginningAndKeepsWhatIsBehind) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteFileDurably(folder / "device", Bytes(kContent.size() + 100, std::byte{0xaa}), 0600));
  ASSERT_TRUE(PlaceOnDevice(folder / "device", kContent));
  const Bytes read = ReadFile(folder / "device", 1 << 24).value();
  ASSERT_EQ(read.size(), kContent.size() + 100);
  EXPECT_TRUE(SameBytes(ByteView(read).first(kContent.size()), kContent));
  EXPECT_EQ(read.back(), std::byte{0xaa});
}

TEST(Placing, ADeviceThatIsTooSmallIsNotTouched) {
  const TemporaryFolder folder;
  const Bytes before(kContent.size() - 1, std::byte{0xaa});
  ASSERT_TRUE(WriteFileDurably(folder / "device", before, 0600));
  EXPECT_EQ(PlaceOnDevice(folder / "device", kContent).error().code, Code::kInvalid);
  EXPECT_EQ(ReadFile(folder / "device", 1 << 24).value(), before);
  EXPECT_EQ(PlaceOnDevice(folder / "none", kContent).error().code, Code::kIo);
}

TEST(Placing, WhatHasNoRoomIsSaidBeforeAnythingIsWritten) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteFileDurably(folder / "device", Bytes(100), 0600));
  EXPECT_TRUE(HasRoomOnDevice(folder / "device", 100));
  EXPECT_EQ(HasRoomOnDevice(folder / "device", 101).error().code, Code::kInvalid);
  EXPECT_EQ(HasRoomOnDevice(folder / "none", 1).error().code, Code::kIo);

  const std::string path = folder / "EFI/stele/b.efi";  // in a folder that is not there yet
  EXPECT_TRUE(HasRoomForFileTwice(path, 1));
  const std::uint64_t space_bytes = std::filesystem::space(folder / ".").available;
  EXPECT_EQ(HasRoomForFileTwice(path, space_bytes * 2 / 3).error().code, Code::kInvalid) << "once it would fit";
  EXPECT_EQ(HasRoomForFileTwice(path, space_bytes * 2).error().code, Code::kInvalid);
}

TEST(Placing, AFileTakesThePlaceOfTheOldOneAndItsFolderIsMade) {
  const TemporaryFolder folder;
  const std::string path = folder / "EFI/stele/b.efi";
  ASSERT_TRUE(PlaceAsFile(path, Bytes(10)));
  ASSERT_TRUE(PlaceAsFile(path, kContent));
  EXPECT_EQ(ReadFile(path, 1 << 24).value(), kContent);
  EXPECT_FALSE(std::filesystem::exists(path + ".new"));
}

}  // namespace
}  // namespace stele::update
