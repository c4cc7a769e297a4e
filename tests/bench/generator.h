// Varied syslog lines from a seed, for benchmarks, demonstrations and crash tests.
//
//   line := RFC 5424 message, without a trailing line feed: <PRI>1 TIMESTAMP HOST APP PROCID MSGID SD MSG
//
// 400 hosts, 5,000 users, 200,000 addresses (Zipf, exponent 1), eight shapes of application, arrivals as a Poisson process of
// 1,000 a second from a fixed date. Lines that all come from one template compress 50 times and prove nothing about a
// store; these hold the random parts real ones hold (addresses, ports, identifiers, sizes, times).
// The same options give the same bytes. No text of anybody else's logs is used.
// Thread safety: one generator belongs to one thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace stele::bench {

inline constexpr std::uint32_t kHosts = 400;
inline constexpr std::uint32_t kUsers = 5'000;
inline constexpr std::uint32_t kAddresses = 200'000;

struct GeneratorOptions {
  std::uint64_t seed = 1;
  std::uint32_t size_bytes = 0;    // exact length of every line; 0 = as long as its shape is
  std::uint64_t needle_every = 0;  // every n-th line (n, 2n, ...) carries Needle(seed, number); 0 = none
  std::string tag;                 // when set, every line carries [run@32473 id="TAG" n="NUMBER"], counted from 0
};

// xoshiro256** seeded by splitmix64: small, fast, the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed);
  std::uint64_t Next();
  std::uint32_t Below(std::uint32_t bound);  // 0 <= result < bound; bound > 0
  double Unit();                             // 0 <= result < 1

 private:
  std::array<std::uint64_t, 4> state_{};
};

// A word that occurs in no other line: "needle-" and 16 hexadecimal digits.
[[nodiscard]] std::string Needle(std::uint64_t seed, std::uint64_t number);

class Generator {
 public:
  explicit Generator(GeneratorOptions options);

  // The next line. The view is valid until the next call.
  std::string_view Next();
  [[nodiscard]] std::uint64_t made() const { return made_; }

 private:
  using Shape = void (Generator::*)();

  void Header(unsigned severity, unsigned facility, std::string_view app, std::string_view message_id);
  void Nginx();
  void Firewall();
  void Sshd();
  void Auditd();
  void Json();
  void Postfix();
  void Named();
  void Dockerd();
  void FitTo(std::uint32_t size_bytes);

  void Text(std::string_view text) { line_.append(text); }
  void Number(std::uint64_t value);
  void Padded(std::uint64_t value, unsigned digits);
  void Hex(unsigned digits);
  void Word(unsigned letters);
  void Address();
  void User();
  void HostName(std::uint32_t host);
  void Path();
  void Timestamp();
  template <std::size_t N>
  std::string_view Pick(const std::array<std::string_view, N>& from) {
    return from[random_.Below(static_cast<std::uint32_t>(N))];
  }

  GeneratorOptions options_;
  Random random_;
  std::string line_;
  std::uint64_t made_ = 0;
  std::int64_t time_us_ = 0;
};

}  // namespace stele::bench
