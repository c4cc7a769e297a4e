#include "appliance/record/entry.h"

#include <arpa/inet.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>

namespace stele::record {
namespace {

constexpr std::string_view kPayloadLabel = "stele/payload/v1";
static_assert(kPayloadLabel.size() == 16);

struct CipherCtxFree {
  void operator()(EVP_CIPHER_CTX* ctx) const { EVP_CIPHER_CTX_free(ctx); }
};

const EVP_CIPHER* FetchedAes128Ecb() {
  static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-128-ECB", nullptr);
  STELE_CHECK(cipher != nullptr);
  return cipher;
}

}  // namespace

const char* KindName(Kind kind) {
  switch (kind) {
    case Kind::kSyslog: return "syslog";
    case Kind::kJson: return "json";
    case Kind::kSource: return "source";
    case Kind::kLoss: return "loss";
    case Kind::kAccess: return "access";
    case Kind::kCheckpoint: return "checkpoint";
    case Kind::kAnchor: return "anchor";
    case Kind::kPolicy: return "policy";
    case Kind::kAlarm: return "alarm";
    case Kind::kLifecycle: return "lifecycle";
    case Kind::kClock: return "clock";
    case Kind::kEpoch: return "epoch";
    case Kind::kTombstone: return "tombstone";
  }
  return "unknown";
}

bool IsKind(std::uint8_t value) { return value >= 1 && value <= kKindMax; }

std::string FlagNames(std::uint16_t flags) {
  constexpr std::pair<std::uint16_t, const char*> kNames[] = {
      {kFlagTruncated, "truncated"},         {kFlagIncomplete, "incomplete"},
      {kFlagUnparsed, "unparsed"},           {kFlagPossibleDuplicate, "possible_duplicate"},
      {kFlagRestamped, "restamped"},         {kFlagFramingError, "framing_error"},
      {kFlagOverflowSource, "overflow_source"}, {kFlagIdentityMismatch, "identity_mismatch"},
      {kFlagSignatureValid, "signature_valid"}, {kFlagSignatureInvalid, "signature_invalid"},
      {kFlagSignatureUnknown, "signature_unknown"}};
  std::string names;
  for (const auto& [bit, name] : kNames) {
    if ((flags & bit) == 0) continue;
    if (!names.empty()) names += ',';
    names += name;
  }
  return names;
}

std::string PeerAddressText(const Peer& peer) {
  if (std::all_of(peer.begin(), peer.end(), [](std::byte b) { return b == std::byte{0}; })) return "";
  constexpr std::array<unsigned char, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  char text[INET6_ADDRSTRLEN] = {};
  if (std::memcmp(peer.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0) {
    (void)inet_ntop(AF_INET, peer.data() + 12, text, sizeof text);  // cannot fail: the buffer is large enough
  } else {
    (void)inet_ntop(AF_INET6, peer.data(), text, sizeof text);  // likewise
  }
  return text;
}

std::string PeerText(const Peer& peer) {
  const std::string address = PeerAddressText(peer);
  if (address.empty()) return "";
  const unsigned port = std::to_integer<unsigned>(peer[16]) << 8U | std::to_integer<unsigned>(peer[17]);
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

EntryBytes EncodeEntry(const Entry& entry) {
  EntryBytes out;
  std::byte* at = out.data();
  StoreLittle(at, kEntryVersion);
  StoreLittle(at + 1, static_cast<std::uint8_t>(entry.kind));
  StoreLittle(at + 2, entry.flags);
  StoreLittle(at + 4, entry.source);
  StoreLittle(at + 8, entry.sequence);
  StoreLittle(at + 16, entry.receive_wall_ns);
  std::memcpy(at + 24, entry.previous.data(), kHashBytes);
  std::memcpy(at + 56, entry.commitment.data(), kHashBytes);
  StoreLittle(at + 88, entry.payload_length);
  return out;
}

Result<Entry> DecodeEntry(ByteView bytes) {
  if (bytes.size() != kEntryBytes) return Fail(Code::kCorrupt, "entry: not 92 bytes");
  Reader in(bytes);
  Entry entry;
  if (in.Int<std::uint8_t>() != kEntryVersion) return Fail(Code::kCorrupt, "entry: unknown version");
  const auto kind = in.Int<std::uint8_t>();
  if (!IsKind(kind)) return Fail(Code::kCorrupt, "entry: unknown kind");
  entry.kind = static_cast<Kind>(kind);
  entry.flags = in.Int<std::uint16_t>();
  entry.source = in.Int<std::uint32_t>();
  entry.sequence = in.Int<std::uint64_t>();
  entry.receive_wall_ns = in.Int<std::int64_t>();
  entry.previous = in.ReadHash();
  entry.commitment = in.ReadHash();
  entry.payload_length = in.Int<std::uint32_t>();
  return entry;
}

Hash CommitPayload(const Salt& salt, const Peer& peer, ByteView payload) {
  const CommitmentPrefix prefix = MakeCommitmentPrefix(salt, peer);
  return Sha256Of(HashJob{prefix, payload});
}

CommitmentPrefix MakeCommitmentPrefix(const Salt& salt, const Peer& peer) {
  CommitmentPrefix prefix;
  std::memcpy(prefix.data(), kPayloadLabel.data(), 16);
  std::memcpy(prefix.data() + 16, salt.data(), kSaltBytes);
  std::memcpy(prefix.data() + 32, peer.data(), kPeerBytes);
  return prefix;
}

void DeriveSalts(const SaltKey& key, std::uint32_t first_position, std::span<Salt> out) {
  if (out.empty()) return;
  thread_local const std::unique_ptr<EVP_CIPHER_CTX, CipherCtxFree> ctx(EVP_CIPHER_CTX_new());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint32_t position = first_position + static_cast<std::uint32_t>(i);
    out[i] = {};
    for (std::size_t b = 0; b < 4; ++b) out[i][15 - b] = static_cast<std::byte>(position >> (8 * b) & 0xffU);
  }
  auto* bytes = reinterpret_cast<unsigned char*>(out.data());
  int written = 0;
  STELE_CHECK(EVP_EncryptInit_ex2(ctx.get(), FetchedAes128Ecb(), reinterpret_cast<const unsigned char*>(key.data()),
                                  nullptr, nullptr) == 1);
  STELE_CHECK(EVP_CIPHER_CTX_set_padding(ctx.get(), 0) == 1);
  STELE_CHECK(EVP_EncryptUpdate(ctx.get(), bytes, &written, bytes, static_cast<int>(out.size() * kSaltBytes)) == 1);
}

Salt DeriveSalt(const SaltKey& key, std::uint32_t position) {
  Salt salt;
  DeriveSalts(key, position, {&salt, 1});
  return salt;
}

}  // namespace stele::record
