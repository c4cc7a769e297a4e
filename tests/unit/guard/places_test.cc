// Goal: one policy in several network namespaces, each entered once and left again: all of them have it or none, and a
// change by hand in any of them is seen. Method: namespaces of the test's own; needs root, else it is skipped.
#include "netfilter/guard/places.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <functional>
#include <thread>

#include "netfilter/compile.h"
#include "tests/unit/netfilter/policies.h"

namespace stele::guard {
namespace {

UniqueFd OwnNamespace() { return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

// In a thread of its own, which leaves no trace in the others; false: no namespace can be made here.
bool InNamespaces(const std::function<void(std::vector<Namespace>)>& body) {
  bool made = false;
  std::thread([&] {
    std::vector<Namespace> namespaces;
    const UniqueFd home = OwnNamespace();
    for (const char* name : {"plant", "office"}) {
      if (::unshare(CLONE_NEWNET) != 0) return;
      namespaces.push_back({name, OwnNamespace()});
    }
    if (::unshare(CLONE_NEWNET) != 0) return;  // where the guard itself is: neither of them
    if (!netfilter::Nft::Open()) return;
    made = true;
    body(std::move(namespaces));
    (void)::setns(home.get(), CLONE_NEWNET);
  }).join();
  return made;
}

TEST(Places, OnePolicyInEachOfThem) {
  const bool made = InNamespaces([](std::vector<Namespace> namespaces) {
    const std::string older = netfilter::CompilePolicy(netfilter::SmallestPolicy());
    const std::string newer = netfilter::CompilePolicy(netfilter::PlantPolicy());
    auto places = Places::Open(namespaces);
    ASSERT_TRUE(places) << places.error().context;
    EXPECT_TRUE(places->ChangesFrom(older)->empty()) << "no table is nobody's change";
    EXPECT_FALSE(places->DifferencesFrom(older)->empty());
    EXPECT_EQ(places->names(), (std::vector<std::string>{"plant", "office"}));
    EXPECT_FALSE(places->Interfaces().has_value()) << "those here are not those there";
    ASSERT_TRUE(places->Apply(older, ""));
    EXPECT_TRUE(places->DifferencesFrom(older)->empty());
    EXPECT_EQ(netfilter::Nft::Open()->List().error().code, Code::kNotFound) << "where the guard is there are no rules";
    ASSERT_TRUE(places->ReadChanges());
    // By hand, in one of them.
    ASSERT_EQ(::setns(namespaces[1].descriptor.get(), CLONE_NEWNET), 0);
    ASSERT_TRUE(netfilter::Nft::Open()->Apply(newer));
    EXPECT_EQ(places->ReadChanges()->size(), 1U);
    const auto differences = places->DifferencesFrom(older);
    ASSERT_TRUE(differences);
    ASSERT_FALSE(differences->empty());
    EXPECT_EQ(differences->front().rfind("network namespace office: ", 0), 0U) << differences->front();
    ASSERT_TRUE(places->Apply(older, older));
    EXPECT_TRUE(places->DifferencesFrom(older)->empty());
  });
  if (!made) GTEST_SKIP() << "no network namespace with nf_tables can be made here";
}

TEST(Places, WithoutAnyItIsTheOneTheProcessIsIn) {
  const bool made = InNamespaces([](const std::vector<Namespace>&) {
    auto places = Places::Open({});
    ASSERT_TRUE(places) << places.error().context;
    const std::string ruleset = netfilter::CompilePolicy(netfilter::PlantPolicy());
    ASSERT_TRUE(places->Apply(ruleset, ""));
    EXPECT_TRUE(netfilter::Nft::Open()->DifferencesFrom(ruleset)->empty());
    EXPECT_EQ(places->Interfaces(), std::vector<std::string>{"lo"});
    const auto counts = places->CountDrops();
    ASSERT_TRUE(counts);
    EXPECT_GT(counts->size(), 10U);
    for (const auto& [what, packets] : *counts) EXPECT_EQ(packets, 0U) << what.first << " " << what.second;
  });
  if (!made) GTEST_SKIP() << "no network namespace with nf_tables can be made here";
}

}  // namespace
}  // namespace stele::guard
