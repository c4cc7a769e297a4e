// Goal: no single changed bit anywhere in a bundle leaves it good, and none makes the verifier stumble.
// Method: bytes all over a small bundle with one bit changed, once as it stands and once with a manifest made to fit. Also what
// belongs to two bundles mixed into one.
#include <gtest/gtest.h>

#include "tests/unit/evidence/made_log.h"

namespace stele::evidence {
namespace {

struct Small {
  MadeLog log;
  Policy policy;
  Bytes archive;
  Small() {
    log.Append(2);
    log.Checkpoint(true);
    log.Append(2);
    log.Checkpoint(false);
    policy.nonce = NonceOf("mine");
    policy.pin_pem = log.provisioning_public_pem;
    policy.ek_roots_pem = EkRootPem();
    BundleWish wish = log.All(NonceOf("mine"));
    wish.from_baseline = false;
    archive = log.Bundle(wish);
  }
};

// Not every byte, another bit each time: the strides and 8 have no common divisor, so all bits of all kinds of fields come up.
constexpr std::size_t kArchiveStride = 29;  // mostly headers and padding
constexpr std::size_t kStride = 7;

TEST(Sweep, NoBitOfAnArchiveCanBeChangedUnseen) {
  const Small small;
  ASSERT_TRUE(VerifyBundle(small.archive, small.policy).good()) << ReportText(VerifyBundle(small.archive, small.policy));
  std::size_t good = 0;
  for (std::size_t at = 0; at < small.archive.size(); at += kArchiveStride) {
    Bytes changed = small.archive;
    changed[at] ^= static_cast<std::byte>(1U << (at % 8));
    const Report report = VerifyBundle(changed, small.policy);
    if (report.good()) {
      ++good;
      ADD_FAILURE() << "byte " << at << " changed and the verdict is " << report.word;
      if (good > 10) return;
    }
  }
}

// With the manifest rewritten, only what no signature or hash reaches may be changed: text for people, claims about the box's
// clock, and the selection's description.
TEST(Sweep, WithAFittingManifestOnlyUnprovenClaimsCanBeChanged) {
  const Small small;
  const TakenApart whole = TakeApart(small.archive);
  for (const auto& [name, content] : whole.files) {
    if (name == "README" || name == "bundle.json" || name == "attest.json" || name == "manifest.json") continue;
    for (std::size_t at = name.size() % kStride; at < content.size(); at += kStride) {
      TakenApart changed = whole;
      changed.Of(name)[at] ^= static_cast<std::byte>(1U << (at % 8));
      const Report report = VerifyBundle(changed.Together(), small.policy);
      if (!report.good()) continue;
      // A PEM has line breaks and text around it that mean nothing; a receipt is JSON with the box's own clock in it.
      const bool same_key = name.ends_with(".pem") || name == "receipt.json";
      EXPECT_TRUE(same_key) << name << " byte " << at;
    }
  }
}

TEST(Sweep, PartsOfTwoBundlesNeverMakeAGoodOne) {
  const Small small;
  MadeLog other(2);
  other.Append(2);
  other.Checkpoint(true);
  other.Append(2);
  other.Checkpoint(false);
  BundleWish wish = other.All(NonceOf("mine"));
  wish.from_baseline = false;
  const TakenApart theirs = TakeApart(other.Bundle(wish));
  const TakenApart ours = TakeApart(small.archive);
  for (const auto& [name, content] : theirs.files) {
    if (name == "README" || name == "manifest.json") continue;
    TakenApart mixed = ours;
    const auto at = std::find_if(mixed.files.begin(), mixed.files.end(), [&](const auto& file) { return file.first == name; });
    if (at == mixed.files.end() || at->second == content) continue;
    at->second = content;
    EXPECT_FALSE(VerifyBundle(mixed.Together(), small.policy).good()) << name;
  }
}

}  // namespace
}  // namespace stele::evidence
