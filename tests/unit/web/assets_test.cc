// Goal: what was compiled in is found, whole, and by nothing but its path.
#include "web/server/assets.h"

#include <gtest/gtest.h>

#include "appliance/base/hash.h"

namespace stele::web {
namespace {

TEST(Assets, TheFrontPageIsIndexHtml) {
  const Asset* front = FindAsset("/");
  ASSERT_NE(front, nullptr);
  EXPECT_EQ(front, FindAsset("/index.html"));
  EXPECT_EQ(front->content_type, "text/html; charset=utf-8");
  EXPECT_FALSE(front->immutable);
  EXPECT_NE(front->bytes.find("<!doctype html>"), std::string_view::npos);
}

TEST(Assets, EveryFileIsFoundAndHasTheDigestOfItsBytes) {
  for (const Asset& asset : AllAssets()) {
    EXPECT_EQ(FindAsset(asset.path), &asset) << asset.path;
    EXPECT_EQ(asset.sha256_hex, HexOf(Sha256Of(AsBytes(asset.bytes)))) << asset.path;
    EXPECT_FALSE(asset.path.ends_with(".map")) << asset.path;
  }
}

TEST(Assets, NothingElseIsFound) {
  for (const char* path : {"", "index.html", "/index.htm", "/index.html/", "/assets", "/~", "/zzz"}) {
    EXPECT_EQ(FindAsset(path), nullptr) << path;
  }
}

}  // namespace
}  // namespace stele::web
