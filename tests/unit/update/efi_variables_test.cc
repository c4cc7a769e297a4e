// Goal: variables are read and written as efivarfs has them: four bytes of attributes, then the value. Method: a folder
// of plain files in its place (the real one: `scripts/boot --test --only update`).
#include "firmware/update/efi_variables.h"

#include <gtest/gtest.h>

#include "appliance/base/system.h"
#include "tests/unit/update/temporary_folder.h"

namespace stele::update {
namespace {

TEST(EfiVariables, AValueIsKeptBehindItsAttributes) {
  const TemporaryFolder folder;
  const EfiVariables variables(folder.path());
  ASSERT_TRUE(variables.Write(kBootOrder, EncodeEntries({0x57EA, 1})));
  EXPECT_EQ(HexOf(ReadFile(folder / kBootOrder, 100).value()), "07000000ea570100");
  EXPECT_EQ(variables.Read(kBootOrder).value(), EncodeEntries({0x57EA, 1}));
}

TEST(EfiVariables, WhatIsMissingOrEmptyIsNotFound) {
  const TemporaryFolder folder;
  const EfiVariables variables(folder.path());
  EXPECT_EQ(variables.Read(kNote).error().code, Code::kNotFound);
  ASSERT_TRUE(WriteFileDurably(folder / kNote, Bytes(3), 0600));
  EXPECT_EQ(variables.Read(kNote).error().code, Code::kNotFound);
  EXPECT_TRUE(variables.Remove(kNote));
  EXPECT_TRUE(variables.Remove(kNote));
}

TEST(EfiVariables, TheStateOfTheBootIsWhatCanBeUnderstood) {
  const TemporaryFolder folder;
  const EfiVariables variables(folder.path());
  const BootState nothing = variables.ReadBootState();
  EXPECT_FALSE(nothing.current);
  EXPECT_TRUE(nothing.order.empty());
  EXPECT_FALSE(nothing.note);
  const Note note{Note::State::kOrdered, 2, {}};
  ASSERT_TRUE(variables.Write(kBootCurrent, EncodeEntries({0x57EB})));
  ASSERT_TRUE(variables.Write(kBootOrder, EncodeEntries({1, 2})));
  ASSERT_TRUE(variables.Write(kNote, EncodeNote(note)));
  const BootState boot = variables.ReadBootState();
  EXPECT_EQ(boot.current, EntryNumber{0x57EB});
  EXPECT_EQ(boot.order, (std::vector<EntryNumber>{1, 2}));
  EXPECT_EQ(boot.note, note);
  ASSERT_TRUE(variables.Write(kBootCurrent, EncodeEntries({1, 2})));
  ASSERT_TRUE(WriteFileDurably(folder / kNote, Bytes(4 + kNoteBytes), 0600));
  EXPECT_FALSE(variables.ReadBootState().current);
  EXPECT_FALSE(variables.ReadBootState().note);
}

}  // namespace
}  // namespace stele::update
