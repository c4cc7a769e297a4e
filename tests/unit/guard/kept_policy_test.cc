// Goal: what was in force is what a restart finds, and a change that was never finished is seen as such. Method: a real
// folder; files cut and changed.
#include "netfilter/guard/kept_policy.h"

#include <gtest/gtest.h>

#include <fstream>

#include "netfilter/policy_text.h"
#include "tests/unit/netfilter/policies.h"

namespace stele::guard {
namespace {

namespace fs = std::filesystem;

class KeptPolicyTest : public ::testing::Test {
 protected:
  KeptPolicyTest() {
    std::string name = (fs::temp_directory_path() / "stele-kept-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    dir_ = name;
    policy_.text = netfilter::PolicyText(netfilter::EveryKindPolicy());
    policy_.digest = netfilter::PolicyDigest(policy_.text);
    policy_.entry = 12;
    policy_.since_ns = 34;
    policy_.who = "root (uid 0)";
  }
  ~KeptPolicyTest() override {
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
  }
  fs::path dir_;
  InForce policy_;
};

TEST_F(KeptPolicyTest, WhatIsTakenIsFoundAgain) {
  const KeptPolicy kept(dir_);
  ASSERT_TRUE(kept.Load());
  EXPECT_FALSE(kept.Load()->has_value());
  ASSERT_TRUE(kept.StorePending(policy_));
  EXPECT_FALSE(kept.Load()->has_value());
  EXPECT_EQ(**kept.LoadPending(), policy_);
  ASSERT_TRUE(kept.TakePending());
  EXPECT_EQ(**kept.Load(), policy_);
  EXPECT_FALSE(kept.LoadPending()->has_value());
  EXPECT_TRUE(kept.DropPending()) << "none is no error";
}

TEST_F(KeptPolicyTest, AFileThatIsNotWhatWasWrittenIsRefused) {
  const KeptPolicy kept(dir_);
  ASSERT_TRUE(kept.StorePending(policy_));
  ASSERT_TRUE(kept.TakePending());
  std::ifstream in(dir_ / "in_force.json");
  const std::string good{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::string opened = good;
  opened.replace(opened.find("10.20.0.0/16"), 12, "10.0.0.0/8,,");
  for (const std::string& bad : {std::string(), std::string("{}"), good.substr(0, good.size() / 2), opened}) {
    std::ofstream(dir_ / "in_force.json") << bad;
    ASSERT_FALSE(kept.Load());
    EXPECT_EQ(kept.Load().error().code, Code::kCorrupt);
  }
}

TEST_F(KeptPolicyTest, WhatDifferedAtTheStartIsKeptUntilItIsSaid) {
  const KeptPolicy kept(dir_);
  EXPECT_TRUE(kept.LoadFound().empty());
  ASSERT_TRUE(kept.StoreFound({"a", "b"}));
  EXPECT_EQ(kept.LoadFound(), (std::vector<std::string>{"a", "b"}));
  kept.DropFound();
  EXPECT_TRUE(kept.LoadFound().empty());
}

}  // namespace
}  // namespace stele::guard
