// Which entry of Secure Boot's databases lets an image start, judged as EDK II's DxeImageVerificationLib judges it: for
// every signature, in order, no certificate of dbx may verify it; the first certificate of db that verifies one (in the
// order of db, as a trust anchor at any depth, whatever the date) is the authority; else an entry of db that is the
// image's own digest. A digest in dbx always wins. Windows Authenticode Portable Executable Signature Format; PKCS #7
// by OpenSSL. Pure.
#pragma once

#include "firmware/measure/pe.h"
#include "firmware/measure/secure_boot.h"

namespace stele::measure {

// kDenied: the firmware would not start it, and why. kInvalid: image or databases are malformed, or dbx
// has lists of a kind that is not judged here (certificate digests with a time of revocation). A signature that is not
// over SHA-256 counts for nothing. The entry's views are into `db`.
[[nodiscard]] Result<SignatureEntry> AuthorityOf(ByteView file, const PeImage& image, ByteView db, ByteView dbx);

// Whether this DER SignedData is an Authenticode signature over `digest` whose signer chains to `certificate` (DER).
[[nodiscard]] bool SignedUnder(ByteView signature, const Hash& digest, ByteView certificate);

}  // namespace stele::measure
