#include "appliance/query/tree_access.h"

namespace stele::query {

std::optional<TreeServe> ParseTreeServe(std::string_view word) {
  if (word == "off") return TreeServe::kOff;
  if (word == "signed-in") return TreeServe::kSignedIn;
  if (word == "anyone") return TreeServe::kAnyone;
  return std::nullopt;
}

std::string TreeCounts::Text() const {
  return "checkpoints " + std::to_string(checkpoints) + ", tiles " + std::to_string(tiles) + ", bundles " +
         std::to_string(bundles) + ", bytes " + std::to_string(bytes);
}

}  // namespace stele::query
