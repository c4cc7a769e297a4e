#include "firmware/update/offer.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "appliance/base/hash.h"

namespace stele::update {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20U;

Result<Bytes> ReadAt(int device, std::uint64_t at, std::uint64_t size_bytes, const char* what) {
  const off_t end = ::lseek(device, 0, SEEK_END);
  if (end < 0) return FailErrno("look at the update");
  const auto there = static_cast<std::uint64_t>(end);
  const auto cut = Fail(Code::kInvalid, std::string("it is cut off in its ") + what);
  if (at > there || size_bytes > there - at) return cut;
  Bytes bytes(size_bytes);
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t piece = std::min(kPieceBytes, bytes.size() - done);
    const ssize_t got = ::pread(device, bytes.data() + done, piece, static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno("read the update");
    if (got == 0) return cut;
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

Result<Bytes> ReadPart(int device, std::uint64_t& at, const Part& part, const char* what) {
  STELE_TRY(Bytes bytes, ReadAt(device, at, part.size_bytes, what));
  if (Sha256Of(bytes) != part.digest)
    return Fail(Code::kInvalid, std::string("its ") + what + " is not the one that was signed");
  at += part.size_bytes;
  return bytes;
}

}  // namespace

Result<Offer> ReadOffer(int device, std::string_view key_pem) {
  STELE_TRY(const Bytes head_bytes, ReadAt(device, 0, kHeadBytes, "head"));
  STELE_TRY(const Head head, ParseHead(head_bytes));
  STELE_TRY(const Bytes manifest, ReadAt(device, kHeadBytes, head.manifest_bytes, "manifest"));
  STELE_TRY_VOID(CheckSignature(manifest, head.signature, key_pem));
  Offer offer;
  STELE_TRY(offer.manifest, ParseManifest(AsText(manifest)));
  offer.digest = Sha256Of(manifest);
  offer.payload_at = kHeadBytes + head.manifest_bytes;
  return offer;
}

Result<Payload> ReadPayload(int device, const Offer& offer) {
  std::uint64_t at = offer.payload_at;
  Payload payload;
  STELE_TRY(payload.root, ReadPart(device, at, offer.manifest.root, "root file system"));
  STELE_TRY(payload.tree, ReadPart(device, at, offer.manifest.tree, "hash tree"));
  STELE_TRY(payload.uki, ReadPart(device, at, offer.manifest.uki, "kernel image"));
  return payload;
}

}  // namespace stele::update
