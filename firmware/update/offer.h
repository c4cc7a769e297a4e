// An update that is offered on a device, read once and believed only when all of it is right.
#pragma once

#include <string>

#include "firmware/update/update_file.h"

namespace stele::update {

struct Offer {
  Manifest manifest;
  Hash digest{};                 // SHA-256 of the manifest: what a note remembers
  std::uint64_t payload_at = 0;  // where the root file system begins
};
// Head, manifest and signature. kInvalid: not an update, or cut off; kDenied: the signature; kIo.
[[nodiscard]] Result<Offer> ReadOffer(int device, std::string_view key_pem);

struct Payload {
  Bytes root;
  Bytes tree;
  Bytes uki;
};
// The three parts, each with the digest that the manifest names. kInvalid: cut off, or another digest; kIo.
[[nodiscard]] Result<Payload> ReadPayload(int device, const Offer& offer);

}  // namespace stele::update
