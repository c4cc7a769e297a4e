// Goal: a peer goes by the name the operator meant, a stranger by none, and rules survive their way between processes.
// Method: overlapping prefixes, identities; encode and decode; every kind of wrong rule.
#include "appliance/channel/source_rules.h"

#include <gtest/gtest.h>

#include "appliance/base/limits.h"

namespace stele::channel {
namespace {

IpAddress Address(std::string_view text) { return ParseIpPrefix(text).value().address; }

NamedSource Named(std::string name, std::vector<std::string> addresses, std::string identity = "") {
  NamedSource named;
  named.name = std::move(name);
  for (const auto& text : addresses) named.addresses.push_back(ParseIpPrefix(text).value());
  named.identity = std::move(identity);
  return named;
}

std::string NameOf(const SourceRules& rules, std::string_view address, std::string_view identity = "") {
  const NamedSource* found = rules.Find(Address(address), identity);
  return found == nullptr ? "" : found->name;
}

SourceRules Example() {
  SourceRules rules;
  rules.SetNamed({Named("lab", {"192.0.2.0/24"}), Named("core", {"192.0.2.1", "2001:db8::1"}),
                  Named("agent", {}, "agent-7"), Named("bound", {"198.51.100.0/24"}, "agent-8")});
  return rules;
}

TEST(SourceRules, TheLongestPrefixGivesTheName) {
  const SourceRules rules = Example();
  EXPECT_EQ(NameOf(rules, "192.0.2.1"), "core");
  EXPECT_EQ(NameOf(rules, "192.0.2.2"), "lab");
  EXPECT_EQ(NameOf(rules, "2001:db8::1"), "core");
  EXPECT_EQ(NameOf(rules, "203.0.113.1"), "");
}

TEST(SourceRules, AnIdentityDecidesBeforeAnAddressAndMustBeInItsPlace) {
  const SourceRules rules = Example();
  EXPECT_EQ(NameOf(rules, "192.0.2.1", "agent-7"), "agent");
  EXPECT_EQ(NameOf(rules, "203.0.113.1", "agent-7"), "agent");
  EXPECT_EQ(NameOf(rules, "198.51.100.9", "agent-8"), "bound");
  EXPECT_EQ(NameOf(rules, "203.0.113.1", "agent-8"), "");
  EXPECT_EQ(NameOf(rules, "198.51.100.9"), "");  // the place alone does not make it
  EXPECT_EQ(NameOf(rules, "198.51.100.9", "agent-9"), "");
}

TEST(SourceRules, ACertificateIsKnownByItsFingerprintItsCommonNameOrADnsName) {
  SourceRules rules;
  rules.SetNamed({Named("by-print", {}, "sha256:00ff"), Named("by-cn", {}, "web1"), Named("by-dns", {}, "db.example.org")});
  EXPECT_EQ(NameOf(rules, "192.0.2.1", R"({"fingerprint":"sha256:00ff","cn":"web1","dns":[]})"), "by-print");
  EXPECT_EQ(NameOf(rules, "192.0.2.1", R"({"fingerprint":"sha256:11","cn":"web1","dns":["db.example.org"]})"), "by-cn");
  EXPECT_EQ(NameOf(rules, "192.0.2.1", R"({"fingerprint":"sha256:11","dns":["a.example.org","db.example.org"]})"), "by-dns");
  EXPECT_EQ(NameOf(rules, "192.0.2.1", R"({"cn":["web1"]})"), "");
  EXPECT_EQ(NameOf(rules, "192.0.2.1", "{broken"), "");
}

TEST(SourceRules, StrangersAreTakenUnlessTheyAreToBeRefused) {
  SourceRules rules = Example();
  EXPECT_TRUE(rules.Accepts(Address("203.0.113.1"), ""));
  rules.refuse_unknown = true;
  EXPECT_FALSE(rules.Accepts(Address("203.0.113.1"), ""));
  EXPECT_TRUE(rules.Accepts(Address("192.0.2.77"), ""));
}

TEST(SourceRules, ComeBackAsTheyWere) {
  SourceRules rules = Example();
  auto named = rules.named();
  named[0].silence_s = 0;
  named[1].silence_s = 90;
  rules.SetNamed(named);
  rules.refuse_unknown = true;
  rules.silence_factor = 3;
  rules.silence_min_s = 5;
  rules.silence_messages = 20;
  const auto decoded = DecodeSourceRules(EncodeSourceRules(rules));
  ASSERT_TRUE(decoded) << Describe(decoded.error());
  EXPECT_EQ(decoded->named(), rules.named());
  EXPECT_EQ(decoded->refuse_unknown, true);
  EXPECT_EQ(decoded->silence_factor, 3);
  EXPECT_EQ(decoded->silence_min_s, 5);
  EXPECT_EQ(decoded->silence_messages, 20);
  EXPECT_EQ(DecodeSourceRules("")->named().size(), 0U);
}

TEST(SourceRules, WhatIsWrongIsNamed) {
  EXPECT_FALSE(DecodeSourceRules("[]"));
  EXPECT_FALSE(DecodeSourceRules(R"({"named":[{"addresses":["192.0.2.1"]}]})"));
  EXPECT_FALSE(DecodeSourceRules(R"({"named":[{"name":"a","addresses":["192.0.2"]}]})"));
  EXPECT_TRUE(ProblemOf(Named("", {"192.0.2.1"})));
  EXPECT_TRUE(ProblemOf(Named(std::string(limits::kSourceNameBytes + 1, 'a'), {"192.0.2.1"})));
  EXPECT_FALSE(ProblemOf(Named(std::string(limits::kSourceNameBytes, 'a'), {"192.0.2.1"})));
  EXPECT_TRUE(ProblemOf(Named("a\x1b[2J", {"192.0.2.1"})));
  EXPECT_TRUE(ProblemOf(Named("nobody", {})));
  NamedSource many = Named("many", {});
  many.addresses.resize(limits::kSourceAddresses + 1);
  EXPECT_TRUE(ProblemOf(many));
}

}  // namespace
}  // namespace stele::channel
