#include "appliance/daemons/receive_resent.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

#include "appliance/base/hash.h"

namespace stele::receive {
namespace {

constexpr std::uint64_t kPageMagic = 0x31746e6573657253;  // "Sresent1"
constexpr std::size_t kSeedAt = 8;
constexpr std::size_t kCountAt = 16;
constexpr std::size_t kSlotsAt = 32;
constexpr std::size_t kSlotBytes = 16;
constexpr std::size_t kRememberedLeast = 256;  // twice the window of common clients
constexpr std::size_t kRememberedOfLive = 4'096;
constexpr std::uint64_t kWindowsRemembered = 4;  // a client counts more as unanswered than we do: answers on their way

}  // namespace

ResentMemory::ResentMemory(Entropy& entropy) {
  std::array<std::byte, 8> random{};
  entropy.Fill(random);
  seed_ = LoadLittle<std::uint64_t>(random.data());
}

ResentMemory::~ResentMemory() {
  if (page_ != nullptr) (void)::munmap(page_, kResentPageBytes);
}

Result<void> ResentMemory::UsePage(UniqueFd page) {
  struct stat facts {};
  if (::fstat(page.get(), &facts) != 0) return FailErrno("look at the page of remembered messages");
  if (facts.st_size != static_cast<off_t>(kResentPageBytes))
    return Fail(Code::kInvalid, "the page of remembered messages has a wrong size");
  void* mapped = ::mmap(nullptr, kResentPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, page.get(), 0);
  if (mapped == MAP_FAILED) return FailErrno("map the page of remembered messages");
  page_ = static_cast<std::byte*>(mapped);
  if (LoadLittle<std::uint64_t>(page_) != kPageMagic) {  // the first receiver
    StoreLittle(page_ + kSeedAt, seed_);
    StoreLittle(page_ + kCountAt, std::uint64_t{0});
    StoreLittle(page_, kPageMagic);
    return {};
  }
  seed_ = LoadLittle<std::uint64_t>(page_ + kSeedAt);
  // They stay in the page: the receiver may die again before they come.
  const auto count =
      std::min<std::uint64_t>(LoadLittle<std::uint64_t>(page_ + kCountAt), limits::kRememberedAcrossCrash);
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* const slot = page_ + kSlotsAt + i * kSlotBytes;
    Expect(LoadLittle<std::uint64_t>(slot), LoadLittle<std::uint64_t>(slot + 8));
  }
  return {};
}

std::uint64_t ResentMemory::SourceOf(std::string_view listener, const record::Peer& peer,
                                     std::string_view identity) const {
  Bytes key = ToBytes(AsBytes(listener));
  key.push_back(std::byte{0});
  Append(key, ByteView(peer).first(16));  // without the port: it changes
  Append(key, AsBytes(identity));
  return Fingerprint64(key, seed_);
}

void ResentMemory::Expect(std::uint64_t source, std::uint64_t fingerprint) {
  if (expected_ >= limits::kRememberedMessages) {  // all but this source; or everything, when this source is everything
    auto kept = expected_by_source_.extract(source);
    expected_by_source_.clear();
    expected_ = 0;
    if (!kept.empty()) {
      for (const auto& [other, count] : kept.mapped().counts) expected_ += count;
      if (expected_ < limits::kRememberedMessages) {
        expected_by_source_.insert(std::move(kept));
      } else {
        expected_ = 0;
      }
    }
  }
  Expected& expected = expected_by_source_[source];
  ++expected.counts[fingerprint];
  ++expected_;
  expected.looks_left += kWindowsRemembered;
  expected.looks_left = std::max<std::uint64_t>(expected.looks_left, 4 * kRememberedLeast);
}

bool ResentMemory::TakeExpected(std::uint64_t source, std::uint64_t fingerprint) {
  const auto at = expected_by_source_.find(source);
  if (at == expected_by_source_.end()) return false;
  Expected& expected = at->second;
  const auto found = expected.counts.find(fingerprint);
  const bool seen = found != expected.counts.end();
  if (seen) {
    --expected_;
    if (--found->second == 0) expected.counts.erase(found);
  }
  if (--expected.looks_left == 0 || expected.counts.empty()) Drop(at);
  return seen;
}

void ResentMemory::Drop(std::unordered_map<std::uint64_t, Expected>::iterator at) {
  for (const auto& [fingerprint, count] : at->second.counts) expected_ -= count;
  expected_by_source_.erase(at);
}

void ResentMemory::Note(std::uint64_t source, std::uint64_t fingerprint) {
  if (page_ == nullptr) return;
  const auto count = LoadLittle<std::uint64_t>(page_ + kCountAt);
  std::byte* const slot = page_ + kSlotsAt + (count % limits::kRememberedAcrossCrash) * kSlotBytes;
  StoreLittle(slot, source);
  StoreLittle(slot + 8, fingerprint);
  StoreLittle(page_ + kCountAt, count + 1);
}

bool ResentMemory::Session::Seen(ByteView message, std::uint64_t unanswered) {
  const std::uint64_t fingerprint = Fingerprint64(message, memory_.seed_);
  const bool seen = !memory_.expected_by_source_.empty() && memory_.TakeExpected(source_, fingerprint);
  memory_.Note(source_, fingerprint);
  if (wanted_ < limits::kRememberedPerSession && wanted_ < kWindowsRemembered * unanswered + kRememberedLeast) {
    wanted_ =
        std::min<std::size_t>(std::max<std::size_t>(2 * wanted_, kRememberedLeast), limits::kRememberedPerSession);
    std::rotate(newest_.begin(), newest_.begin() + static_cast<std::ptrdiff_t>(next_),
                newest_.end());  // oldest first, to go on behind
    next_ = 0;
  }
  if (newest_.size() < wanted_ && memory_.remembered_ < limits::kRememberedMessages) {
    newest_.push_back(fingerprint);
    ++memory_.remembered_;
  } else if (!newest_.empty()) {
    newest_[next_] = fingerprint;
    next_ = (next_ + 1) % newest_.size();
  }
  return seen;
}

void ResentMemory::Session::Forget() {
  memory_.remembered_ -= newest_.size();
  newest_.clear();
  next_ = 0;
  wanted_ = 0;
}

void ResentMemory::Session::Broke() {
  for (const std::uint64_t fingerprint : newest_) memory_.Expect(source_, fingerprint);
  Forget();
}

ResentMemory::Session::Session(ResentMemory& memory, std::uint64_t source) : memory_(memory), source_(source) {
  std::size_t most = kRememberedOfLive;
  const auto [from, to] = memory_.live_.equal_range(source_);
  for (auto at = from; at != to && most > 0; ++at) {
    const Session& other = *at->second;
    for (std::size_t i = 0; i < other.newest_.size() && most > 0; ++i, --most) {  // from the newest back
      const std::size_t size = other.newest_.size();
      memory_.Expect(source_, other.newest_[(other.next_ + size - 1 - i) % size]);
    }
  }
  memory_.live_.emplace(source_, this);
}

ResentMemory::Session::~Session() {
  Broke();
  const auto [from, to] = memory_.live_.equal_range(source_);
  for (auto at = from; at != to; ++at) {
    if (at->second != this) continue;
    memory_.live_.erase(at);
    return;
  }
}

}  // namespace stele::receive
