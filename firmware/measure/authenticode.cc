#include "firmware/measure/authenticode.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <memory>

namespace stele::measure {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Pkcs7 = std::unique_ptr<PKCS7, Freer<PKCS7_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Store = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using DigestInfo = std::unique_ptr<X509_SIG, Freer<X509_SIG_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free>>;

// What does not verify leaves its reasons in the thread's queue.
struct ErrorQueue {
  ErrorQueue() = default;
  ErrorQueue(const ErrorQueue&) = delete;
  ErrorQueue& operator=(const ErrorQueue&) = delete;
  ~ErrorQueue() { ERR_clear_error(); }
};

const unsigned char* Octets(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

Pkcs7 ParseSignedData(ByteView der) {
  const unsigned char* at = Octets(der);
  Pkcs7 signed_data(d2i_PKCS7(nullptr, &at, static_cast<long>(der.size())));
  if (!signed_data || !PKCS7_type_is_signed(signed_data.get()) || signed_data->d.sign == nullptr) return nullptr;
  return signed_data;
}

Certificate ParseCertificate(ByteView der) {
  const unsigned char* at = Octets(der);
  return Certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
}

// The value of one DER element of the kind wanted, and what follows it; empty where there is none.
struct Element {
  ByteView value;
  ByteView rest;
  bool ok = false;
};
Element TakeSequence(ByteView der) {
  const unsigned char* at = Octets(der);
  long length = 0;
  int tag = 0;
  int kind = 0;
  if (der.empty() || (ASN1_get_object(&at, &length, &tag, &kind, static_cast<long>(der.size())) & 0x80) != 0) return {};
  if (tag != V_ASN1_SEQUENCE || kind != V_ASN1_UNIVERSAL) return {};
  const auto header_bytes = static_cast<std::size_t>(at - Octets(der));
  const auto value_bytes = static_cast<std::size_t>(length);
  return {der.subspan(header_bytes, value_bytes), der.subspan(header_bytes + value_bytes), true};
}

std::string ObjectText(const ASN1_OBJECT* object) {
  char text[80] = {};
  (void)OBJ_obj2txt(text, sizeof text, object, /*no_name=*/1);
  return text;
}

// SpcIndirectDataContent ::= SEQUENCE { data SEQUENCE, messageDigest DigestInfo }; the signature is over what is inside
// of the outer SEQUENCE. Empty where the content is no such thing.
ByteView SignedContent(const PKCS7& signed_data) {
  const PKCS7* contents = signed_data.d.sign->contents;
  if (contents == nullptr || contents->type == nullptr) return {};
  if (ObjectText(contents->type) != "1.3.6.1.4.1.311.2.1.4") return {};
  const ASN1_TYPE* other = contents->d.other;
  if (other == nullptr || other->type != V_ASN1_SEQUENCE || other->value.sequence == nullptr) return {};
  const ASN1_STRING* sequence = other->value.sequence;
  const ByteView der(reinterpret_cast<const std::byte*>(ASN1_STRING_get0_data(sequence)),
                     static_cast<std::size_t>(ASN1_STRING_length(sequence)));
  const Element outer = TakeSequence(der);
  return outer.ok && outer.rest.empty() ? outer.value : ByteView();
}

bool ContentIs(ByteView content, const Hash& digest) {
  const Element data = TakeSequence(content);
  if (!data.ok) return false;
  const unsigned char* at = Octets(data.rest);
  const DigestInfo info(d2i_X509_SIG(nullptr, &at, static_cast<long>(data.rest.size())));
  if (!info || at != Octets(data.rest) + data.rest.size()) return false;
  const X509_ALGOR* algorithm = nullptr;
  const ASN1_OCTET_STRING* value = nullptr;
  X509_SIG_get0(info.get(), &algorithm, &value);
  const ByteView octets(reinterpret_cast<const std::byte*>(ASN1_STRING_get0_data(value)),
                        static_cast<std::size_t>(ASN1_STRING_length(value)));
  return OBJ_obj2nid(algorithm->algorithm) == NID_sha256 && SameBytes(octets, digest);
}

const SignatureEntry* CertificateThatSigned(ByteView signature, const Hash& digest,
                                            const std::vector<SignatureEntry>& entries) {
  for (const SignatureEntry& entry : entries) {
    if (entry.type == kX509Certificate && SignedUnder(signature, digest, entry.data)) return &entry;
  }
  return nullptr;
}

const SignatureEntry* EntryOfDigest(const Hash& digest, const std::vector<SignatureEntry>& entries) {
  for (const SignatureEntry& entry : entries) {
    if (entry.type == kSha256Digest && SameBytes(entry.data, digest)) return &entry;
  }
  return nullptr;
}

}  // namespace

bool SignedUnder(ByteView signature, const Hash& digest, ByteView certificate) {
  const ErrorQueue cleared;
  const Pkcs7 signed_data = ParseSignedData(signature);
  if (!signed_data) return false;
  const ByteView content = SignedContent(*signed_data);
  if (content.empty() || !ContentIs(content, digest)) return false;

  const Certificate anchor = ParseCertificate(certificate);
  const Store store(X509_STORE_new());
  const Bio in(BIO_new_mem_buf(content.data(), static_cast<int>(content.size())));
  if (!anchor || !store || !in || X509_STORE_add_cert(store.get(), anchor.get()) != 1) return false;
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
  X509_STORE_set_purpose(store.get(), X509_PURPOSE_ANY);
  return PKCS7_verify(signed_data.get(), nullptr, store.get(), in.get(), nullptr, PKCS7_BINARY) == 1;
}

Result<SignatureEntry> AuthorityOf(ByteView file, const PeImage& image, ByteView db, ByteView dbx) {
  STELE_TRY(const auto allowed, ParseSignatureLists(db));
  STELE_TRY(const auto forbidden, ParseSignatureLists(dbx));
  STELE_TRY(const auto signatures, SignaturesOf(file, image));
  for (const SignatureEntry& entry : forbidden) {
    if (entry.type != kX509Certificate && entry.type != kSha256Digest) {
      return Fail(Code::kInvalid, "dbx: a list of a kind that is not judged here: " + TextOf(entry.type));
    }
  }
  const Hash digest = AuthenticodeDigest(file, image);
  if (EntryOfDigest(digest, forbidden) != nullptr) return Fail(Code::kDenied, "the image's digest is in dbx");
  const SignatureEntry* authority = nullptr;
  for (const ByteView signature : signatures) {
    if (CertificateThatSigned(signature, digest, forbidden) != nullptr) {
      return Fail(Code::kDenied, "the image is signed under a certificate in dbx");
    }
    if (authority == nullptr) authority = CertificateThatSigned(signature, digest, allowed);
  }
  if (authority == nullptr) authority = EntryOfDigest(digest, allowed);
  if (authority == nullptr) {
    return Fail(Code::kDenied, signatures.empty() ? "the image is not signed, and its digest is not in db"
                                                  : "no certificate in db verifies the image's signature");
  }
  return *authority;
}

}  // namespace stele::measure
