// Sets of addresses: what prefixes come to when they are put together, taken apart and compared. IPv4 is
// ::ffff:a.b.c.d, as everywhere (appliance/base/ip_prefix.h).
#pragma once

#include <vector>

#include "appliance/base/ip_prefix.h"

namespace stele::netfilter {

struct AddressRange {
  IpAddress first{};
  IpAddress last{};  // inclusive
  bool operator==(const AddressRange&) const = default;
};

[[nodiscard]] AddressRange RangeOf(const IpPrefix& prefix);
[[nodiscard]] bool Overlap(const AddressRange& a, const AddressRange& b);
[[nodiscard]] bool IsV4(const IpAddress& address);
[[nodiscard]] bool IsV4(const IpPrefix& prefix);

// Sorted ranges that neither overlap nor touch: one set has one form.
class AddressSet {
 public:
  AddressSet() = default;
  explicit AddressSet(const std::vector<IpPrefix>& prefixes);
  explicit AddressSet(const IpAddress& address) : ranges_{{address, address}} {}

  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] bool Contains(const IpAddress& address) const;
  [[nodiscard]] AddressSet Without(const AddressSet& other) const;
  void Add(const AddressSet& other);
  [[nodiscard]] std::vector<IpPrefix> Prefixes() const;  // the fewest, in ascending order
  bool operator==(const AddressSet&) const = default;

 private:
  void Normalise();
  std::vector<AddressRange> ranges_;
};

// The members of one family, in the fewest prefixes.
[[nodiscard]] std::vector<IpPrefix> PrefixesOf(const AddressSet& set, bool v4);

}  // namespace stele::netfilter
