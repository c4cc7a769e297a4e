// Goal: sets of addresses add, subtract and come back as prefixes exactly. Method: small cases by hand, and random sets
// within one octet, where every member can be counted.
#include "netfilter/address_set.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/netfilter/policies.h"

namespace stele::netfilter {
namespace {

std::string Text(const AddressSet& set) {
  std::string out;
  for (const IpPrefix& prefix : set.Prefixes()) out += (out.empty() ? "" : " ") + IpPrefixText(prefix);
  return out;
}

AddressSet SetOf(const std::vector<std::string>& texts) {
  std::vector<IpPrefix> prefixes;
  for (const std::string& text : texts) prefixes.push_back(PrefixOf(text));
  return AddressSet(prefixes);
}

TEST(AddressSet, NeighboursAndNestedPrefixesBecomeOne) {
  EXPECT_EQ(Text(SetOf({"10.0.1.0/24", "10.0.0.0/24", "10.0.0.7"})), "10.0.0.0/23");
  EXPECT_EQ(Text(SetOf({"2001:db8::/33", "2001:db8:8000::/33"})), "2001:db8::/32");
  EXPECT_EQ(Text(SetOf({"255.255.255.255", "0.0.0.0"})), "0.0.0.0 255.255.255.255");
}

TEST(AddressSet, WhatIsTakenOutLeavesTheRestInTheFewestPrefixes) {
  EXPECT_EQ(Text(SetOf({"10.0.0.0/24"}).Without(SetOf({"10.0.0.64/26"}))), "10.0.0.0/26 10.0.0.128/25");
  EXPECT_EQ(Text(SetOf({"10.0.0.0/24"}).Without(SetOf({"10.0.0.0/8"}))), "");
  EXPECT_EQ(Text(SetOf({"10.0.0.0/30"}).Without(SetOf({"10.0.0.1", "10.0.0.2"}))), "10.0.0.0 10.0.0.3");
}

TEST(AddressSet, TheWholeLineHasTwoEnds) {
  const AddressSet all(std::vector<IpPrefix>{{IpAddress{}, 0}});
  EXPECT_EQ(Text(all), "::/0");
  AddressSet highest = SetOf({"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"});
  EXPECT_EQ(Text(all.Without(highest).Without(all)), "");
  AddressSet joined = all.Without(highest);
  joined.Add(highest);
  EXPECT_EQ(joined, all);
}

TEST(AddressSet, FamiliesAreToldApart) {
  const AddressSet both = SetOf({"10.0.0.0/8", "2001:db8::/32"});
  ASSERT_EQ(PrefixesOf(both, true).size(), 1U);
  EXPECT_EQ(IpPrefixText(PrefixesOf(both, true)[0]), "10.0.0.0/8");
  EXPECT_EQ(IpPrefixText(PrefixesOf(both, false)[0]), "2001:db8::/32");
}

TEST(AddressSet, AgreesWithAListOfItsMembers) {
  std::mt19937_64 random(20'261'121);
  const auto at = [](unsigned last) {
    IpAddress address = AddressOf("192.0.2.0");
    address[15] = static_cast<std::byte>(last);
    return address;
  };
  for (int round = 0; round < 2'000; ++round) {
    const auto some = [&](std::vector<bool>& members) {
      std::vector<IpPrefix> prefixes;
      for (std::uint64_t i = random() % 6; i > 0; --i) {
        const auto bits = static_cast<unsigned>(120 + random() % 9);
        const IpAddress address = Masked(at(static_cast<unsigned>(random() % 256)), bits);
        prefixes.push_back({address, bits});
        for (unsigned n = 0; n < 256; ++n) members[n] = members[n] || prefixes.back().Contains(at(n));
      }
      return AddressSet(prefixes);
    };
    std::vector<bool> in_a(256);
    std::vector<bool> in_b(256);
    const AddressSet a = some(in_a);
    const AddressSet b = some(in_b);
    const AddressSet less = a.Without(b);
    const AddressSet again(less.Prefixes());
    ASSERT_EQ(again, less);
    for (unsigned n = 0; n < 256; ++n) {
      ASSERT_EQ(a.Contains(at(n)), in_a[n]);
      ASSERT_EQ(less.Contains(at(n)), in_a[n] && !in_b[n]);
    }
  }
}

}  // namespace
}  // namespace stele::netfilter
