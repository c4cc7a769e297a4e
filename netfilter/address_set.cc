#include "netfilter/address_set.h"

#include <algorithm>
#include <iterator>

namespace stele::netfilter {
namespace {

constexpr unsigned kBits = 128;
constexpr unsigned kV4Bits = 96;  // the prefix length of ::ffff:0:0

bool IsLowest(const IpAddress& address) { return address == IpAddress{}; }
bool IsHighest(const IpAddress& address) {
  return std::all_of(address.begin(), address.end(), [](std::byte b) { return b == std::byte{0xff}; });
}

IpAddress After(IpAddress address) {  // of the highest: the lowest
  for (auto at = address.rbegin(); at != address.rend(); ++at) {
    *at = static_cast<std::byte>(std::to_integer<unsigned>(*at) + 1U);
    if (*at != std::byte{0}) break;
  }
  return address;
}

IpAddress Before(IpAddress address) {  // of the lowest: the highest
  for (auto at = address.rbegin(); at != address.rend(); ++at) {
    const bool borrows = *at == std::byte{0};
    *at = static_cast<std::byte>(std::to_integer<unsigned>(*at) - 1U);
    if (!borrows) break;
  }
  return address;
}

IpAddress WithHostBits(const IpAddress& address, unsigned bits) {
  IpAddress out = address;
  for (unsigned i = bits; i < kBits; ++i) out[i / 8] |= static_cast<std::byte>(0x80U >> (i % 8));
  return out;
}

}  // namespace

AddressRange RangeOf(const IpPrefix& prefix) { return {prefix.address, WithHostBits(prefix.address, prefix.bits)}; }

bool Overlap(const AddressRange& a, const AddressRange& b) { return a.first <= b.last && b.first <= a.last; }

bool IsV4(const IpAddress& address) {
  static const IpAddress kMapped = ParseIpPrefix("0.0.0.0")->address;
  return Masked(address, kV4Bits) == kMapped;
}

bool IsV4(const IpPrefix& prefix) { return prefix.bits >= kV4Bits && IsV4(prefix.address); }

AddressSet::AddressSet(const std::vector<IpPrefix>& prefixes) {
  ranges_.reserve(prefixes.size());
  for (const IpPrefix& prefix : prefixes) ranges_.push_back(RangeOf(prefix));
  Normalise();
}

void AddressSet::Add(const AddressSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  Normalise();
}

void AddressSet::Normalise() {
  std::sort(ranges_.begin(), ranges_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<AddressRange> merged;
  for (const AddressRange& range : ranges_) {
    const bool joins = !merged.empty() && (IsHighest(merged.back().last) || range.first <= After(merged.back().last));
    if (joins) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  ranges_ = std::move(merged);
}

bool AddressSet::Contains(const IpAddress& address) const {
  const auto behind = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                       [](const IpAddress& a, const AddressRange& range) { return a < range.first; });
  return behind != ranges_.begin() && address <= std::prev(behind)->last;
}

AddressSet AddressSet::Without(const AddressSet& other) const {
  AddressSet out;
  auto cut = other.ranges_.begin();
  for (AddressRange rest : ranges_) {
    while (cut != other.ranges_.end() && cut->last < rest.first) ++cut;
    bool gone = false;
    for (auto at = cut; at != other.ranges_.end() && at->first <= rest.last && !gone; ++at) {
      if (at->first > rest.first) out.ranges_.push_back({rest.first, Before(at->first)});
      gone = at->last >= rest.last;
      if (!gone) rest.first = After(at->last);
    }
    if (!gone) out.ranges_.push_back(rest);
  }
  return out;
}

std::vector<IpPrefix> AddressSet::Prefixes() const {
  std::vector<IpPrefix> out;
  for (const AddressRange& range : ranges_) {
    IpAddress first = range.first;
    while (true) {
      unsigned bits = kBits;  // widen while it begins here and ends within the range
      while (bits > 0 && Masked(first, bits - 1) == first && WithHostBits(first, bits - 1) <= range.last) --bits;
      out.push_back({first, bits});
      const IpAddress last = WithHostBits(first, bits);
      if (last >= range.last) break;
      first = After(last);
      if (IsLowest(first)) break;
    }
  }
  return out;
}

std::vector<IpPrefix> PrefixesOf(const AddressSet& set, bool v4) {
  std::vector<IpPrefix> out = set.Prefixes();
  out.erase(std::remove_if(out.begin(), out.end(), [v4](const IpPrefix& prefix) { return IsV4(prefix) != v4; }),
            out.end());
  return out;
}

}  // namespace stele::netfilter
