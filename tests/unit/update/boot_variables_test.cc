// Goal: what the firmware is told starts the right file, and a trial is one only when it was ordered. Method: golden
// file of a load option (that firmware follows it: `scripts/boot --test --only update`), every state of the note.
#include "firmware/update/boot_variables.h"

#include <gtest/gtest.h>

#include "tests/unit/golden.h"

namespace stele::update {
namespace {

using State = Note::State;

Bytes Utf16(std::string_view text) {
  Bytes out;
  Writer writer(out);
  for (const char c : text) writer.Int(static_cast<std::uint16_t>(c));
  return out;
}

Hash Filled(unsigned char value) {
  Hash hash;
  hash.fill(static_cast<std::byte>(value));
  return hash;
}

constexpr std::string_view kGuidText = "0A1b2c3d-0405-0607-0809-0a0b0c0d0e0f";

TEST(StubPartition, TheTextOfTheStubBecomesTheGuidAsGptHasIt) {
  for (const std::string& text : {std::string(kGuidText), std::string(kGuidText) + std::string(1, '\0')}) {
    const auto guid = ParseStubPartition(Utf16(text));
    ASSERT_TRUE(guid.has_value());
    EXPECT_EQ(HexOf(*guid), "3d2c1b0a0504070608090a0b0c0d0e0f");
  }
}

TEST(StubPartition, WhatIsNoGuidIsRefused) {
  const std::string text(kGuidText);
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(ParseStubPartition(Utf16(text.substr(0, size))));
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string wrong = text;
    wrong[at] = 'x';
    EXPECT_FALSE(ParseStubPartition(Utf16(wrong))) << at;
  }
}

TEST(BootEntry, HasTheBytesOfTheFormat) {
  Esp esp{1, 2048, 262144, {}};
  esp.guid = ParseStubPartition(Utf16(kGuidText)).value();
  ExpectGolden("boot_entry.bin", EncodeEntry(Slot::kB, esp));
}

TEST(BootEntry, EachSlotHasItsOwnAndOthersAreNotOurs) {
  for (const Slot slot : {Slot::kA, Slot::kB}) {
    EXPECT_EQ(SlotOf(EntryOf(slot)), slot);
    EXPECT_NE(EntryVariable(slot), EntryVariable(OtherThan(slot)));
    EXPECT_NE(ImagePath(slot), ImagePath(OtherThan(slot)));
  }
  EXPECT_EQ(RootPartition(Slot::kA), "stele-root-a");
  EXPECT_EQ(TreePartition(Slot::kB), "stele-verity-b");
  EXPECT_FALSE(SlotOf(0));
  EXPECT_FALSE(SlotOf(0x57EC));
}

TEST(BootOrder, ComesBackAsItWasWritten) {
  const std::vector<EntryNumber> order = {3, 0x57EA, 0};
  EXPECT_EQ(ParseEntries(EncodeEntries(order)).value(), order);
  EXPECT_TRUE(ParseEntries({}).value().empty());
  EXPECT_FALSE(ParseEntries(Bytes(3)));
  EXPECT_TRUE(ParseEntries(Bytes(512)));
  EXPECT_FALSE(ParseEntries(Bytes(514)));
}

TEST(BootOrder, OneEntryIsPutFirstOrTakenOutAndTheOthersStayInOrder) {
  EXPECT_EQ(PutFirst({1, 2, 3}, 3), (std::vector<EntryNumber>{3, 1, 2}));
  EXPECT_EQ(PutFirst({1, 2}, 9), (std::vector<EntryNumber>{9, 1, 2}));
  EXPECT_EQ(PutFirst({}, 9), (std::vector<EntryNumber>{9}));
  EXPECT_EQ(Without({9, 1, 9, 2}, 9), (std::vector<EntryNumber>{1, 2}));
}

TEST(UpdateNote, HasTheBytesOfTheFormatAndComesBack) {
  const Note note{State::kLeft, 7, Filled(0x5a)};
  ExpectGolden("update_note.bin", EncodeNote(note));
  EXPECT_EQ(ParseNote(EncodeNote(note)).value(), note);
}

TEST(UpdateNote, WhatIsNotOneIsRefused) {
  const Bytes whole = EncodeNote({State::kOrdered, 7, Filled(1)});
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(ParseNote(ByteView(whole).first(size))) << size;
  Bytes longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(ParseNote(longer));
  for (const std::size_t at : {0U, 1U, 2U, 7U}) {
    Bytes wrong = whole;
    wrong[at] = std::byte{6};
    EXPECT_FALSE(ParseNote(wrong)) << at;
  }
}

TEST(Trial, IsAStartOfOurEntryThatIsNotFirstAndWasOrdered) {
  const EntryNumber b = EntryOf(Slot::kB);
  const Note ordered{State::kOrdered, 7, Filled(1)};
  EXPECT_TRUE(IsTrial({b, {3, 0}, ordered}));
  EXPECT_TRUE(IsTrial({b, {}, ordered}));
  EXPECT_FALSE(IsTrial({b, {b, 3}, ordered}));            // regular
  EXPECT_FALSE(IsTrial({EntryNumber{3}, {3}, ordered}));  // what ran before
  EXPECT_FALSE(IsTrial({EntryNumber{4}, {3}, ordered}));  // somebody else's
  EXPECT_FALSE(IsTrial({std::nullopt, {3}, ordered}));
  EXPECT_FALSE(IsTrial({b, {3}, std::nullopt}));
  for (const State state : {State::kStarted, State::kLeft, State::kForgiven, State::kConfirmed})
    EXPECT_FALSE(IsTrial({b, {3}, Note{state, 7, Filled(1)}}));  // it had its trial
}

TEST(Regular, IsAStartOfOurEntryThatIsFirst) {
  const EntryNumber a = EntryOf(Slot::kA);
  EXPECT_TRUE(IsRegular({a, {a, 3}, std::nullopt}));
  EXPECT_FALSE(IsRegular({a, {3, a}, std::nullopt}));
  EXPECT_FALSE(IsRegular({EntryNumber{3}, {3, a}, std::nullopt}));
  EXPECT_FALSE(IsRegular({a, {}, std::nullopt}));
  EXPECT_FALSE(IsRegular({}));
}

}  // namespace
}  // namespace stele::update
