// Slots of the image and what the firmware keeps about them. From bytes alone; the init links it too, so nothing here
// throws.
//
//   slot          a or b: partitions stele-root-X and stele-verity-X, image \EFI\stele\X.efi on the ESP
//   boot entry    Boot57EA for slot a, Boot57EB for slot b: an EFI_LOAD_OPTION that names the image by the ESP's GUID
//   BootOrder     the confirmed slot's entry is first
//   BootNext      orders the trial of the other; the firmware forgets it before it follows it
//   SteleUpdate   our own variable: the note of the last update
//
// \EFI\BOOT\BOOTX64.EFI is a copy of the confirmed image, for firmware that has lost its variables.
// UEFI 2.10, sections 3.1.3 (load options), 3.3 (variables), 10.3 (device paths).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::update {

enum class Slot : char { kA = 'a', kB = 'b' };
[[nodiscard]] std::string NameOf(Slot slot);  // "a"
[[nodiscard]] Slot OtherThan(Slot slot);
[[nodiscard]] std::string RootPartition(Slot slot);
[[nodiscard]] std::string TreePartition(Slot slot);
[[nodiscard]] std::string ImagePath(Slot slot);  // below the ESP: "EFI/stele/a.efi"
inline constexpr const char* kDefaultImagePath = "EFI/BOOT/BOOTX64.EFI";

using EntryNumber = std::uint16_t;
[[nodiscard]] EntryNumber EntryOf(Slot slot);
[[nodiscard]] std::optional<Slot> SlotOf(EntryNumber entry);  // none: an entry of somebody else's

// Names of variables as efivarfs has them.
inline constexpr const char* kBootCurrent = "BootCurrent-8be4df61-93ca-11d2-aa0d-00e098032b8c";
inline constexpr const char* kBootNext = "BootNext-8be4df61-93ca-11d2-aa0d-00e098032b8c";
inline constexpr const char* kBootOrder = "BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c";
inline constexpr const char* kNote = "SteleUpdate-6d1fb0c3-9a57-4b7e-8a0e-3c2c1d0f5e57";
// Written by systemd's stub: the GUID of the partition that this image was read from.
inline constexpr const char* kStubPartition = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
[[nodiscard]] std::string EntryVariable(Slot slot);

using Guid = std::array<std::byte, 16>;  // as GPT and EFI have it: the first three fields little-endian
[[nodiscard]] Result<Guid> ParseStubPartition(ByteView value);

// The ESP as an entry names it; in blocks of the device.
struct Esp {
  std::uint32_t partition = 0;  // from 1
  std::uint64_t first_block = 0;
  std::uint64_t blocks = 0;
  Guid guid{};
};
[[nodiscard]] Bytes EncodeEntry(Slot slot, const Esp& esp);

[[nodiscard]] Result<std::vector<EntryNumber>> ParseEntries(ByteView value);  // BootOrder, BootNext, BootCurrent
[[nodiscard]] Bytes EncodeEntries(const std::vector<EntryNumber>& entries);
[[nodiscard]] std::vector<EntryNumber> Without(std::vector<EntryNumber> order, EntryNumber entry);
[[nodiscard]] std::vector<EntryNumber> PutFirst(const std::vector<EntryNumber>& order, EntryNumber entry);

// What became of the last update. 48 bytes: format = 1, state, 6 zeros, version, SHA-256 of the manifest.
struct Note {
  enum class State : std::uint8_t {
    kOrdered = 1,    // written, its trial ordered
    kStarted = 2,    // its trial has begun
    kLeft = 3,       // it did not come to serve; not to be tried again while it is offered
    kForgiven = 4,   // the same, and there was a start without it: it may be offered again
    kConfirmed = 5,  // it serves and is first
  };
  State state = State::kOrdered;
  std::uint64_t version = 0;
  Hash manifest{};

  friend bool operator==(const Note&, const Note&) = default;
};
inline constexpr std::size_t kNoteBytes = 48;
[[nodiscard]] Bytes EncodeNote(const Note& note);
[[nodiscard]] Result<Note> ParseNote(ByteView bytes);  // kInvalid

struct BootState {
  std::optional<EntryNumber> current;
  std::vector<EntryNumber> order;
  std::optional<Note> note;
};
// By the entry of one of our slots, which is first in the order.
[[nodiscard]] bool IsRegular(const BootState& boot);
// The start that the note has ordered: by one of our entries, which is not first. True once for each order, because who
// asks then notes that it has begun: so a trial that goes wrong can restart and never does so twice.
[[nodiscard]] bool IsTrial(const BootState& boot);

}  // namespace stele::update
