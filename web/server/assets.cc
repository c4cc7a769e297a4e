#include "web/server/assets.h"

#include <algorithm>

namespace stele::web {

const Asset* FindAsset(std::string_view path) {
  if (path == "/") path = "/index.html";
  const std::span<const Asset> all = AllAssets();
  const auto found = std::lower_bound(all.begin(), all.end(), path,
                                      [](const Asset& asset, std::string_view wanted) { return asset.path < wanted; });
  return found != all.end() && found->path == path ? &*found : nullptr;
}

}  // namespace stele::web
