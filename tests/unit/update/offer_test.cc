// Goal: an update on a device is taken whole or not at all. Method: a made update, cut at every border and inside every
// part, longer and shorter parts, changed bytes.
#include "firmware/update/offer.h"

#include <fcntl.h>

#include "appliance/base/fd.h"
#include "tests/unit/update/made_update.h"

namespace stele::update {
namespace {

class UpdateOffer : public ::testing::Test {
 protected:
  // The sentence of the refusal; empty when it was taken.
  [[nodiscard]] std::string Refusal(const Bytes& device) const {
    const std::string path = maker_.folder() / "device";
    EXPECT_TRUE(WriteFileDurably(path, device, 0600));
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto offer = ReadOffer(file.get(), maker_.PublicKey());
    if (!offer) return offer.error().context;
    const auto payload = ReadPayload(file.get(), *offer);
    if (!payload) return payload.error().context;
    EXPECT_EQ(payload->root, maker_.root);
    EXPECT_EQ(payload->tree, maker_.tree);
    EXPECT_EQ(payload->uki, maker_.uki);
    EXPECT_EQ(offer->manifest, maker_.TheManifest());
    return {};
  }
  static bool Says(const std::string& sentence, const char* words) { return sentence.find(words) != std::string::npos; }

  UpdateMaker maker_;
};

TEST_F(UpdateOffer, AWholeOneIsTakenWhateverFollowsIt) {
  Bytes update = maker_.Make(maker_.TheManifest());
  EXPECT_EQ(Refusal(update), "");
  update.insert(update.end(), 100, std::byte{0xff});
  EXPECT_EQ(Refusal(update), "");
}

TEST_F(UpdateOffer, WhatTheBuildOfAnImageWritesIsTheSameByteForByte) {
  EXPECT_EQ(maker_.MakeByBuilder("model", 2), maker_.Make(maker_.TheManifest()));
}

TEST_F(UpdateOffer, CutAtEveryBorderAndInsideEveryPartItIsRefused) {
  const Bytes update = maker_.Make(maker_.TheManifest());
  const std::size_t root_at = update.size() - maker_.root.size() - maker_.tree.size() - maker_.uki.size();
  const std::size_t tree_at = root_at + maker_.root.size();
  const std::size_t uki_at = tree_at + maker_.tree.size();
  const auto cut = [&](std::size_t size) {
    return Refusal(Bytes(update.begin(), update.begin() + static_cast<std::ptrdiff_t>(size)));
  };
  for (const std::size_t size : {std::size_t{0}, std::size_t{8}, kHeadBytes - 1})
    EXPECT_TRUE(Says(cut(size), "head")) << size;
  for (const std::size_t size : {kHeadBytes, root_at - 1}) EXPECT_TRUE(Says(cut(size), "manifest")) << size;
  for (const std::size_t size : {root_at, tree_at - 1}) EXPECT_TRUE(Says(cut(size), "root file system")) << size;
  for (const std::size_t size : {tree_at, uki_at - 1}) EXPECT_TRUE(Says(cut(size), "hash tree")) << size;
  for (const std::size_t size : {uki_at, update.size() - 1}) EXPECT_TRUE(Says(cut(size), "kernel image")) << size;
}

TEST_F(UpdateOffer, APartOfAnotherLengthThanWasSignedIsRefused) {
  const Manifest signed_one = maker_.TheManifest();
  maker_.root.push_back(std::byte{1});
  EXPECT_TRUE(Says(Refusal(maker_.Make(signed_one)), "hash tree is not the one"));
  maker_.root.resize(signed_one.root.size_bytes - 1);
  EXPECT_TRUE(Says(Refusal(maker_.Make(signed_one)), "root file system is not the one"));
}

TEST_F(UpdateOffer, OneChangedBitOfAnyPartIsRefused) {
  const Manifest signed_one = maker_.TheManifest();
  for (Bytes* part : {&maker_.root, &maker_.tree, &maker_.uki}) {
    part->back() ^= std::byte{1};
    EXPECT_TRUE(Says(Refusal(maker_.Make(signed_one)), "is not the one that was signed"));
    part->back() ^= std::byte{1};
  }
}

TEST_F(UpdateOffer, UnsignedOrSignedByAStrangerItIsRefused) {
  Bytes update = maker_.Make(maker_.TheManifest());
  std::fill_n(update.begin() + 16, kSignatureBytes, std::byte{0});
  EXPECT_TRUE(Says(Refusal(update), "not signed"));
  maker_.MakeKey("stranger");
  EXPECT_TRUE(Says(Refusal(maker_.Make(maker_.TheManifest(), "stranger")), "not signed"));
}

TEST_F(UpdateOffer, ADeviceThatHoldsSomethingElseIsRefused) {
  EXPECT_TRUE(Says(Refusal(Bytes(1 << 20)), "not an update"));
}

}  // namespace
}  // namespace stele::update
