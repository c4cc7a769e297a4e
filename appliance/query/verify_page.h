// verify.html, the verifier of bundles for a browser (web/viewer), compiled in so that it can ride in every bundle. A
// convenience for whoever opens one: what came with the evidence is no authority over it. Written at build time by
// web/server/embed.cc; empty where the viewer was not built.
#pragma once

#include <string_view>

namespace stele::query {

[[nodiscard]] std::string_view VerifyPage();

}  // namespace stele::query
