#include "appliance/anchor/slots.h"

#include <fcntl.h>
#include <openssl/crypto.h>

#include <cerrno>

#include "appliance/base/hash.h"
#include "appliance/base/system.h"

namespace stele::anchor {
namespace {

constexpr std::string_view kMagic = "STLSLOT1";
constexpr std::size_t kFrontierMax = 64;
constexpr std::size_t kSlotBytesMax =
    8 + 8 + 32 + 8 + 32 + 1 + 32 * kFrontierMax + 8 + 8 + 32 + 8 + 32 + 4 + 4 + 8 + 8 + 32;

}  // namespace

Bytes EncodeSlot(const SlotState& state, ByteView key) {
  STELE_CHECK(state.frontier.size() <= kFrontierMax);
  Bytes out;
  Writer writer(out);
  writer.Raw(AsBytes(kMagic));
  writer.Int(state.generation);
  writer.Raw(state.log_id);
  writer.Int(state.size);
  writer.Raw(state.root);
  writer.Int(static_cast<std::uint8_t>(state.frontier.size()));
  for (const Hash& hash : state.frontier) writer.Raw(hash);
  writer.Int(state.number);
  writer.Int(state.anchor);
  writer.Raw(state.index);
  writer.Int(state.counter);
  writer.Raw(state.pcr);
  writer.Int(state.reset_count);
  writer.Int(state.restart_count);
  writer.Int(state.clock_ms);
  writer.Int(state.wall_ns);
  const Hash mac = HmacSha256(key, {out});
  writer.Raw(mac);
  return out;
}

Result<SlotState> DecodeSlot(ByteView bytes, ByteView key) {
  if (bytes.size() < kHashBytes || bytes.size() > kSlotBytesMax)
    return Fail(Code::kCorrupt, "anchor slot: impossible length");
  const ByteView body = bytes.first(bytes.size() - kHashBytes);
  const Hash mac = HmacSha256(key, {body});
  if (CRYPTO_memcmp(mac.data(), bytes.data() + body.size(), kHashBytes) != 0) {
    return Fail(Code::kCorrupt, "anchor slot: torn, altered, or written under another key");
  }
  Reader reader(body);
  SlotState state;
  const bool magic = SameBytes(reader.Raw(kMagic.size()), AsBytes(kMagic));
  state.generation = reader.Int<std::uint64_t>();
  state.log_id = reader.ReadHash();
  state.size = reader.Int<std::uint64_t>();
  state.root = reader.ReadHash();
  const auto frontier_count = reader.Int<std::uint8_t>();
  for (std::size_t i = 0; i < frontier_count && i < kFrontierMax; ++i) state.frontier.push_back(reader.ReadHash());
  state.number = reader.Int<std::uint64_t>();
  state.anchor = reader.Int<std::uint64_t>();
  state.index = reader.ReadHash();
  state.counter = reader.Int<std::uint64_t>();
  state.pcr = reader.ReadHash();
  state.reset_count = reader.Int<std::uint32_t>();
  state.restart_count = reader.Int<std::uint32_t>();
  state.clock_ms = reader.Int<std::uint64_t>();
  state.wall_ns = reader.Int<std::int64_t>();
  if (!magic || !reader.AtEnd()) return Fail(Code::kCorrupt, "anchor slot: not a slot of this version");
  return state;
}

SlotPair::Loaded SlotPair::Load() {
  Loaded loaded;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto raw = slots_[i]->Load();
    if (!raw && raw.error().code == Code::kNotFound) continue;
    auto state = raw ? DecodeSlot(*raw, key_) : Result<SlotState>(tl::unexpected(raw.error()));
    if (!state) {
      ++loaded.unreadable;
      continue;
    }
    if (loaded.newest && loaded.newest->generation >= state->generation) continue;
    loaded.newest = std::move(*state);
    older_ = 1 - i;
  }
  generation_ = loaded.newest ? loaded.newest->generation : 0;
  return loaded;
}

Result<void> SlotPair::Store(SlotState state) {
  state.generation = generation_ + 1;
  STELE_TRY_VOID(slots_[older_]->Store(EncodeSlot(state, key_)));
  generation_ = state.generation;
  older_ = 1 - older_;
  return {};
}

Result<Bytes> FileSlot::Load() {
  std::error_code error;
  if (!std::filesystem::exists(path_, error) && !error)
    return Fail(Code::kNotFound, path_.string() + " does not exist");
  return ReadFile(path_, kSlotBytesMax + 1);
}

// A full disk has no room for a second file; the slot's own sectors are still there. Written in place, a torn slot is recognised by
// its MAC, and the other one, which is not touched, holds the state before.
Result<void> FileSlot::Store(ByteView data) {
  auto stored = WriteFileDurably(path_, data, 0600);
  if (stored || stored.error().code != Code::kIo || stored.error().detail != ENOSPC) return stored;
  const UniqueFd fd(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return stored;
  if (::pwrite(fd.get(), data.data(), data.size(), 0) != static_cast<ssize_t>(data.size())) return FailErrno("write " + path_.string());
  if (::ftruncate(fd.get(), static_cast<off_t>(data.size())) != 0) return FailErrno("cut " + path_.string());
  if (::fdatasync(fd.get()) != 0) return FailErrno("fdatasync " + path_.string());
  return {};
}

}  // namespace stele::anchor
