#include "firmware/update/boot_variables.h"

#include <algorithm>

namespace stele::update {
namespace {

constexpr EntryNumber kEntryA = 0x57EA;
constexpr EntryNumber kEntryB = 0x57EB;
constexpr std::size_t kEntriesMax = 256;
constexpr std::uint8_t kNoteFormat = 1;

// UEFI 2.10, section 3.1.3, table 3.2 and section 10.3.5.
constexpr std::uint32_t kActive = 1;
constexpr std::uint8_t kMedia = 4;
constexpr std::uint8_t kHardDrive = 1;
constexpr std::uint8_t kFilePath = 4;
constexpr std::uint8_t kGpt = 2;
constexpr std::uint8_t kByGuid = 2;
constexpr std::uint8_t kEnd = 0x7f;
constexpr std::uint8_t kEntireEnd = 0xff;
constexpr std::uint16_t kNodeHeadBytes = 4;
constexpr std::uint16_t kHardDriveBytes = 42;

void AppendUtf16(Bytes& out, std::string_view ascii) {
  Writer writer(out);
  for (const char c : ascii) writer.Int(static_cast<std::uint16_t>(c));
  writer.Int(std::uint16_t{0});
}

void AppendNode(Bytes& out, std::uint8_t type, std::uint8_t kind, ByteView content) {
  Writer writer(out);
  writer.Int(type);
  writer.Int(kind);
  writer.Int(static_cast<std::uint16_t>(kNodeHeadBytes + content.size()));
  writer.Raw(content);
}

Bytes FilePathOf(Slot slot, const Esp& esp) {
  Bytes drive;
  Writer writer(drive);
  writer.Int(esp.partition);
  writer.Int(esp.first_block);
  writer.Int(esp.blocks);
  writer.Raw(esp.guid);
  writer.Int(kGpt);
  writer.Int(kByGuid);
  STELE_CHECK(drive.size() + kNodeHeadBytes == kHardDriveBytes);
  std::string name = "\\" + ImagePath(slot);
  std::replace(name.begin(), name.end(), '/', '\\');
  Bytes file;
  AppendUtf16(file, name);
  Bytes path;
  AppendNode(path, kMedia, kHardDrive, drive);
  AppendNode(path, kMedia, kFilePath, file);
  AppendNode(path, kEnd, kEntireEnd, {});
  return path;
}

int DigitOf(char16_t c) {
  if (c >= u'0' && c <= u'9') return c - u'0';
  if (c >= u'a' && c <= u'f') return c - u'a' + 10;
  if (c >= u'A' && c <= u'F') return c - u'A' + 10;
  return -1;
}

}  // namespace

std::string NameOf(Slot slot) { return {static_cast<char>(slot)}; }
Slot OtherThan(Slot slot) { return slot == Slot::kA ? Slot::kB : Slot::kA; }
std::string RootPartition(Slot slot) { return "stele-root-" + NameOf(slot); }
std::string TreePartition(Slot slot) { return "stele-verity-" + NameOf(slot); }
std::string ImagePath(Slot slot) { return "EFI/stele/" + NameOf(slot) + ".efi"; }

EntryNumber EntryOf(Slot slot) { return slot == Slot::kA ? kEntryA : kEntryB; }
std::optional<Slot> SlotOf(EntryNumber entry) {
  if (entry == kEntryA) return Slot::kA;
  if (entry == kEntryB) return Slot::kB;
  return std::nullopt;
}
std::string EntryVariable(Slot slot) {
  return std::string(slot == Slot::kA ? "Boot57EA" : "Boot57EB") + "-8be4df61-93ca-11d2-aa0d-00e098032b8c";
}

// "0a1b2c3d-0405-0607-0809-0a0b0c0d0e0f" in UTF-16, with or without a final zero.
Result<Guid> ParseStubPartition(ByteView value) {
  constexpr std::string_view kForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  constexpr std::size_t kPlace[] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto wrong = Fail(Code::kInvalid, "the stub does not say which partition this image is from");
  if (value.size() < 2 * kForm.size()) return wrong;
  Guid guid{};
  std::size_t digits = 0;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const auto c = LoadLittle<char16_t>(value.data() + 2 * i);
    if (kForm[i] == '-') {
      if (c != u'-') return wrong;
      continue;
    }
    const int digit = DigitOf(c);
    if (digit < 0) return wrong;
    std::byte& octet = guid[kPlace[digits / 2]];
    octet = static_cast<std::byte>(std::to_integer<int>(octet) << 4 | digit);
    ++digits;
  }
  return guid;
}

Bytes EncodeEntry(Slot slot, const Esp& esp) {
  const Bytes path = FilePathOf(slot, esp);
  Bytes out;
  Writer writer(out);
  writer.Int(kActive);
  writer.Int(static_cast<std::uint16_t>(path.size()));
  AppendUtf16(out, "Stele " + NameOf(slot));
  writer.Raw(path);
  return out;
}

Result<std::vector<EntryNumber>> ParseEntries(ByteView value) {
  if (value.size() % 2 != 0 || value.size() > 2 * kEntriesMax)
    return Fail(Code::kInvalid, "the firmware's boot order is not one");
  std::vector<EntryNumber> entries;
  for (std::size_t at = 0; at < value.size(); at += 2) entries.push_back(LoadLittle<EntryNumber>(value.data() + at));
  return entries;
}

Bytes EncodeEntries(const std::vector<EntryNumber>& entries) {
  Bytes out;
  Writer writer(out);
  for (const EntryNumber entry : entries) writer.Int(entry);
  return out;
}

std::vector<EntryNumber> Without(std::vector<EntryNumber> order, EntryNumber entry) {
  order.erase(std::remove(order.begin(), order.end(), entry), order.end());
  return order;
}

std::vector<EntryNumber> PutFirst(const std::vector<EntryNumber>& order, EntryNumber entry) {
  std::vector<EntryNumber> out = Without(order, entry);
  out.insert(out.begin(), entry);
  return out;
}

Bytes EncodeNote(const Note& note) {
  Bytes out;
  Writer writer(out);
  writer.Int(kNoteFormat);
  writer.Int(static_cast<std::uint8_t>(note.state));
  writer.Int(std::uint16_t{0});
  writer.Int(std::uint32_t{0});
  writer.Int(note.version);
  writer.Raw(note.manifest);
  STELE_CHECK(out.size() == kNoteBytes);
  return out;
}

Result<Note> ParseNote(ByteView bytes) {
  Reader reader(bytes);
  const auto format = reader.Int<std::uint8_t>();
  const auto state = reader.Int<std::uint8_t>();
  const auto zero_16 = reader.Int<std::uint16_t>();
  const auto zero_32 = reader.Int<std::uint32_t>();
  Note note;
  note.version = reader.Int<std::uint64_t>();
  note.manifest = reader.ReadHash();
  if (!reader.AtEnd() || format != kNoteFormat || zero_16 != 0 || zero_32 != 0 || state < 1 || state > 5)
    return Fail(Code::kInvalid, "the note of the last update is not one");
  note.state = static_cast<Note::State>(state);
  return note;
}

bool IsRegular(const BootState& boot) {
  return boot.current && SlotOf(*boot.current) && !boot.order.empty() && boot.order.front() == *boot.current;
}

bool IsTrial(const BootState& boot) {
  return boot.current && SlotOf(*boot.current) && !IsRegular(boot) && boot.note &&
         boot.note->state == Note::State::kOrdered;
}

}  // namespace stele::update
