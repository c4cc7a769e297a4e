#include "appliance/base/hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <memory>

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include <xxhash.h>
#pragma GCC diagnostic pop

#include "appliance/base/sha256_ni.h"

namespace stele {
namespace {

struct MdCtxFree {
  void operator()(EVP_MD_CTX* ctx) const { EVP_MD_CTX_free(ctx); }
};
using MdCtx = std::unique_ptr<EVP_MD_CTX, MdCtxFree>;

// Fetched once for the life of the process: EVP_sha256() per call costs more than hashing a record.
const EVP_MD* FetchedSha256() {
  static EVP_MD* const digest = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  STELE_CHECK(digest != nullptr);
  return digest;
}

Hash OpenSslSha256(std::initializer_list<ByteView> parts) {
  thread_local const MdCtx ctx(EVP_MD_CTX_new());
  Hash out;
  STELE_CHECK(EVP_DigestInit_ex(ctx.get(), FetchedSha256(), nullptr) == 1);
  for (const ByteView part : parts) STELE_CHECK(EVP_DigestUpdate(ctx.get(), part.data(), part.size()) == 1);
  STELE_CHECK(EVP_DigestFinal_ex(ctx.get(), reinterpret_cast<unsigned char*>(out.data()), nullptr) == 1);
  return out;
}

constexpr std::byte kLeafPrefix[1] = {std::byte{0}};
constexpr std::byte kNodePrefix[1] = {std::byte{1}};
constexpr std::size_t kPrefixMax = 64;

Hash HashOne(const HashJob& job) {
  if (!sha_ni::Supported() || job.prefix.size() > kPrefixMax) return OpenSslSha256({job.prefix, job.body});
  Hash out;
  sha_ni::One(job, out);
  return out;
}

}  // namespace

Hash Sha256Of(ByteView data) { return HashOne({{}, data}); }

Hash Sha256Of(const HashJob& job) { return HashOne(job); }

Hash Sha256Of(std::initializer_list<ByteView> parts) { return OpenSslSha256(parts); }

void Sha256Pair(const HashJob& first, const HashJob& second, Hash& first_out, Hash& second_out) {
  if (sha_ni::Supported() && first.prefix.size() <= kPrefixMax && second.prefix.size() <= kPrefixMax) {
    sha_ni::Two(first, second, first_out, second_out);
    return;
  }
  first_out = OpenSslSha256({first.prefix, first.body});
  second_out = OpenSslSha256({second.prefix, second.body});
}

Hash HmacSha256(ByteView key, std::initializer_list<ByteView> parts) {
  constexpr std::size_t kBlockBytes = 64;
  std::array<std::byte, kBlockBytes> inner{};
  std::array<std::byte, kBlockBytes> outer{};
  Hash short_key{};
  if (key.size() > kBlockBytes) {
    short_key = Sha256Of(key);
    key = short_key;
  }
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    const std::byte k = i < key.size() ? key[i] : std::byte{0};
    inner[i] = k ^ std::byte{0x36};
    outer[i] = k ^ std::byte{0x5c};
  }
  Bytes message(inner.begin(), inner.end());
  for (const ByteView part : parts) Append(message, part);
  const Hash digest = Sha256Of(message);
  OPENSSL_cleanse(message.data(), message.size());
  const Hash out = Sha256Of({ByteView(outer), ByteView(digest)});
  OPENSSL_cleanse(inner.data(), inner.size());
  OPENSSL_cleanse(outer.data(), outer.size());
  return out;
}

Hash LeafHash(ByteView data) { return HashOne({kLeafPrefix, data}); }

Hash NodeHash(const Hash& left, const Hash& right) {
  std::array<std::byte, 2 * kHashBytes> both;
  std::memcpy(both.data(), left.data(), kHashBytes);
  std::memcpy(both.data() + kHashBytes, right.data(), kHashBytes);
  return HashOne({kNodePrefix, both});
}

Hash EmptyTreeHash() { return Sha256Of(ByteView{}); }

bool HasShaInstructions() { return sha_ni::Supported(); }

Result<void> HashSelfTest() {
  // FIPS 180-4 example "abc", then every length around the block borders on both implementations.
  const auto expected = ParseHash("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  if (Sha256Of(AsBytes("abc")) != *expected) return Fail(Code::kCorrupt, "SHA-256 self-test: the known answer differs");
  Bytes data(300);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7 + 3);
  const ByteView all(data);
  for (std::size_t length = 0; length < 250; ++length) {
    const HashJob first{all.first(length % 65), all.subspan(7, length)};
    const HashJob second{all.subspan(3, 50), all.subspan(11, 249 - length)};
    Hash first_out{};
    Hash second_out{};
    Sha256Pair(first, second, first_out, second_out);
    if (first_out != OpenSslSha256({first.prefix, first.body}) ||
        second_out != OpenSslSha256({second.prefix, second.body}) || HashOne(first) != first_out) {
      return Fail(Code::kCorrupt, "SHA-256 self-test: the two implementations disagree");
    }
  }
  return {};
}

std::uint32_t Checksum32(ByteView data) {
  const std::uint64_t full = XXH3_64bits(data.data(), data.size());
  return static_cast<std::uint32_t>(full ^ (full >> 32U));
}

std::uint64_t Fingerprint64(ByteView data, std::uint64_t seed) { return XXH3_64bits_withSeed(data.data(), data.size(), seed); }

}  // namespace stele
