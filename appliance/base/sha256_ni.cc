#include "appliance/base/sha256_ni.h"

#include <algorithm>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace stele::sha_ni {

#if defined(__x86_64__)
namespace {

constexpr std::size_t kBlock = 64;

alignas(64) constexpr std::uint32_t kRoundConstants[64] = {  // FIPS 180-4 section 4.2.2
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

struct State {
  __m128i abef;
  __m128i cdgh;
};

State InitialState() {
  return {_mm_set_epi32(0x6a09e667, static_cast<int>(0xbb67ae85), 0x510e527f, static_cast<int>(0x9b05688c)),
          _mm_set_epi32(0x3c6ef372, static_cast<int>(0xa54ff53a), 0x1f83d9ab, 0x5be0cd19)};
}

// One block of each of N independent messages; the compiler unrolls both loops, so the N dependency chains interleave.
template <std::size_t N>
__attribute__((target("sha,sse4.1,ssse3"))) inline void Compress(State* const (&state)[N], const std::byte* const (&block)[N]) {
  const __m128i kByteSwap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  __m128i abef[N];
  __m128i cdgh[N];
  __m128i words[N][4];
  for (std::size_t s = 0; s < N; ++s) {
    abef[s] = state[s]->abef;
    cdgh[s] = state[s]->cdgh;
  }
#pragma GCC unroll 16
  for (std::size_t group = 0; group < 16; ++group) {
    const __m128i constants = _mm_load_si128(reinterpret_cast<const __m128i*>(&kRoundConstants[group * 4]));
#pragma GCC unroll 2
    for (std::size_t s = 0; s < N; ++s) {
      if (group < 4) {
        const auto* at = reinterpret_cast<const __m128i*>(block[s] + group * 16);
        words[s][group] = _mm_shuffle_epi8(_mm_loadu_si128(at), kByteSwap);
      }
      const __m128i current = words[s][group % 4];
      __m128i sum = _mm_add_epi32(current, constants);
      cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], sum);
      sum = _mm_shuffle_epi32(sum, 0x0e);
      abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], sum);
      if (group >= 3 && group < 15) {
        const __m128i oldest = _mm_sha256msg1_epu32(words[s][(group + 1) % 4], words[s][(group + 2) % 4]);
        const __m128i seven_back = _mm_alignr_epi8(current, words[s][(group + 3) % 4], 4);
        words[s][(group + 1) % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(oldest, seven_back), current);
      }
    }
  }
  for (std::size_t s = 0; s < N; ++s) {
    state[s]->abef = _mm_add_epi32(state[s]->abef, abef[s]);
    state[s]->cdgh = _mm_add_epi32(state[s]->cdgh, cdgh[s]);
  }
}

__attribute__((target("sha,sse4.1,ssse3"))) void StoreDigest(const State& state, Hash& out) {
  const __m128i kByteSwap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  const __m128i feba = _mm_shuffle_epi32(state.abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(state.cdgh, 0xb1);
  const __m128i dcba = _mm_blend_epi16(feba, dchg, 0xf0);
  const __m128i hgfe = _mm_alignr_epi8(dchg, feba, 8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out.data()), _mm_shuffle_epi8(dcba, kByteSwap));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out.data() + 16), _mm_shuffle_epi8(hgfe, kByteSwap));
}

// The padded blocks of prefix || body without copying the body: block 0 and the last one or two live in scratch space.
class Blocks {
 public:
  explicit Blocks(const HashJob& job) : job_(job) {
    const std::size_t total = job.prefix.size() + job.body.size();
    whole_ = total / kBlock;
    const std::size_t rest = total % kBlock;
    tail_blocks_ = rest + 9 > kBlock ? 2 : 1;
    std::memset(tail_ + (tail_blocks_ - 1) * kBlock, 0, kBlock);  // of fixed size: a few stores
    if (whole_ == 0) {
      Copy(job.prefix, tail_);
      Copy(job.body, tail_ + job.prefix.size());
    } else {
      if (!job.prefix.empty()) {
        Copy(job.prefix, head_);
        Copy(job.body.first(kBlock - job.prefix.size()), head_ + job.prefix.size());
      }
      Copy(job.body.last(rest), tail_);
    }
    tail_[rest] = std::byte{0x80};
    if (tail_blocks_ == 2) std::memset(tail_ + rest + 1, 0, kBlock - 1 - rest);
    const std::uint64_t bits = __builtin_bswap64(std::uint64_t{total} * 8);
    std::memcpy(tail_ + tail_blocks_ * kBlock - sizeof bits, &bits, sizeof bits);
  }
  [[nodiscard]] std::size_t count() const { return whole_ + tail_blocks_; }
  [[nodiscard]] const std::byte* At(std::size_t i) const {
    if (i >= whole_) return tail_ + (i - whole_) * kBlock;
    if (i == 0 && !job_.prefix.empty()) return head_;
    return job_.body.data() + (i * kBlock - job_.prefix.size());
  }

 private:
  static void Copy(ByteView from, std::byte* to) {
    if (!from.empty()) std::memcpy(to, from.data(), from.size());
  }

  const HashJob& job_;
  std::size_t whole_ = 0;
  std::size_t tail_blocks_ = 1;
  std::byte head_[kBlock];
  std::byte tail_[2 * kBlock];
};

}  // namespace

bool Supported() {
  static const bool supported = [] {
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & (1U << 29U)) == 0) return false;  // SHA
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1U << 19U)) != 0 && (c & (1U << 9U)) != 0;  // SSE4.1, SSSE3
  }();
  return supported;
}

void One(const HashJob& job, Hash& out) {
  const Blocks blocks(job);
  State state = InitialState();
  for (std::size_t i = 0; i < blocks.count(); ++i) Compress<1>({&state}, {blocks.At(i)});
  StoreDigest(state, out);
}

void Two(const HashJob& first, const HashJob& second, Hash& first_out, Hash& second_out) {
  const Blocks a(first);
  const Blocks b(second);
  State state_a = InitialState();
  State state_b = InitialState();
  const std::size_t together = std::min(a.count(), b.count());
  for (std::size_t i = 0; i < together; ++i) Compress<2>({&state_a, &state_b}, {a.At(i), b.At(i)});
  for (std::size_t i = together; i < a.count(); ++i) Compress<1>({&state_a}, {a.At(i)});
  for (std::size_t i = together; i < b.count(); ++i) Compress<1>({&state_b}, {b.At(i)});
  StoreDigest(state_a, first_out);
  StoreDigest(state_b, second_out);
}

#else

bool Supported() { return false; }
void One(const HashJob& /*job*/, Hash& /*out*/) { STELE_CHECK(false); }
void Two(const HashJob& /*first*/, const HashJob& /*second*/, Hash& /*first_out*/, Hash& /*second_out*/) {
  STELE_CHECK(false);
}

#endif

}  // namespace stele::sha_ni
