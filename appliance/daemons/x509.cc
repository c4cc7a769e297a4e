#include "appliance/daemons/x509.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <optional>

#include "appliance/daemons/certificates.h"

namespace stele::daemons {
namespace {

template <typename T, void (*kFree)(T*)>
struct Freer {
  void operator()(T* object) const { kFree(object); }
};
using NamePtr = std::unique_ptr<GENERAL_NAME, Freer<GENERAL_NAME, GENERAL_NAME_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES, GENERAL_NAMES_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION, X509_EXTENSION_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, Freer<BIGNUM, BN_free>>;
using Pkcs12Ptr = std::unique_ptr<PKCS12, Freer<PKCS12, PKCS12_free>>;
struct BioFree {
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};
using BioPtr = std::unique_ptr<BIO, BioFree>;
struct StackFree {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }  // borrows its certificates
};

constexpr int kPkcs12Iterations = 10'000;  // the password is 120 random bits: no guess depends on this
constexpr int kSerialBits = 127;

tl::unexpected<Error> FailSsl(const std::string& what) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  ERR_clear_error();
  return Fail(Code::kInvalid, what + ": " + text.data());
}

std::string TextOf(BIO* memory) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(memory, &data);
  return length > 0 ? std::string(data, static_cast<std::size_t>(length)) : std::string();
}

int NoPassword(char*, int, int, void*) { return -1; }  // never ask a terminal

std::optional<Bytes> AddressBytes(const std::string& name) {
  std::array<std::byte, 16> raw{};
  if (::inet_pton(AF_INET, name.c_str(), raw.data()) == 1) return Bytes(raw.begin(), raw.begin() + 4);
  if (::inet_pton(AF_INET6, name.c_str(), raw.data()) == 1) return Bytes(raw.begin(), raw.end());
  return std::nullopt;
}

NamePtr GeneralName(const std::string& name) {
  NamePtr out(GENERAL_NAME_new());
  const auto address = AddressBytes(name);
  const int kind = address ? GEN_IPADD : GEN_DNS;
  ASN1_STRING* value = ASN1_STRING_type_new(address ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
  if (!out || value == nullptr) return nullptr;
  const void* data = address ? static_cast<const void*>(address->data()) : name.data();
  if (ASN1_STRING_set(value, data, static_cast<int>(address ? address->size() : name.size())) != 1) {
    ASN1_STRING_free(value);
    return nullptr;
  }
  GENERAL_NAME_set0_value(out.get(), kind, value);  // takes it
  return out;
}

// Names are put in as data, never as the configuration text OpenSSL would parse.
bool AddNames(X509* certificate, const std::vector<std::string>& names) {
  const NamesPtr all(GENERAL_NAMES_new());
  for (const std::string& name : names) {
    NamePtr one = GeneralName(name);
    if (!one || sk_GENERAL_NAME_push(all.get(), one.get()) == 0) return false;
    (void)one.release();  // the stack owns it now
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, all.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool AddPurpose(X509* certificate, X509* issuer, const Template& wanted) {
  const auto add = [&](int nid, const char* value) { return AddExtension(certificate, issuer, nid, value); };
  if (!add(NID_subject_key_identifier, "hash")) return false;
  if (!add(NID_authority_key_identifier, "keyid:always")) return false;
  switch (wanted.purpose) {
    case Purpose::kAuthority:
      return add(NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
             add(NID_key_usage, "critical,keyCertSign,cRLSign");
    case Purpose::kServer:
      return add(NID_basic_constraints, "critical,CA:FALSE") && add(NID_key_usage, "critical,digitalSignature") &&
             add(NID_ext_key_usage, "serverAuth") && AddNames(certificate, wanted.names);
    case Purpose::kClient:
      return add(NID_basic_constraints, "critical,CA:FALSE") && add(NID_key_usage, "critical,digitalSignature") &&
             add(NID_ext_key_usage, "clientAuth");
  }
  return false;
}

bool SetSerial(X509* certificate) {
  const NumberPtr number(BN_new());
  return number && BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool SetSubject(X509* certificate, const Template& wanted) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto add = [subject](const char* field, const std::string& value) {
    return X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  return add("O", "Stele") && add("CN", wanted.common_name);
}

Result<GENERAL_NAMES*> SanOf(const Pair& pair) {
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(pair.certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  if (names == nullptr) return Fail(Code::kNotFound, "no subject alternative name");
  return names;
}

}  // namespace

Result<Pair> Issue(const Template& wanted, const Pair* authority) {
  Pair out;
  out.key.reset(EVP_EC_gen("P-256"));
  out.certificate.reset(X509_new());
  X509* certificate = out.certificate.get();
  if (!out.key || certificate == nullptr) return FailSsl("make a key");
  X509* issuer = authority != nullptr ? authority->certificate.get() : certificate;
  EVP_PKEY* signer = authority != nullptr ? authority->key.get() : out.key.get();
  const bool filled = X509_set_version(certificate, X509_VERSION_3) == 1 && SetSerial(certificate) &&
                      ASN1_TIME_set(X509_getm_notBefore(certificate), wanted.begin_s) != nullptr &&
                      ASN1_TIME_set(X509_getm_notAfter(certificate), wanted.end_s) != nullptr &&
                      X509_set_pubkey(certificate, out.key.get()) == 1 && SetSubject(certificate, wanted) &&
                      X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
                      AddPurpose(certificate, issuer, wanted);
  if (!filled || X509_sign(certificate, signer, EVP_sha256()) == 0) return FailSsl("make a certificate");
  return out;
}

Result<Pair> ParsePair(std::string_view certificate_pem, std::string_view key_pem) {
  const BioPtr certificate_in(BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
  const BioPtr key_in(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  Pair out;
  out.certificate.reset(PEM_read_bio_X509(certificate_in.get(), nullptr, NoPassword, nullptr));
  out.key.reset(PEM_read_bio_PrivateKey(key_in.get(), nullptr, NoPassword, nullptr));
  if (!out.certificate || !out.key) return FailSsl("read a certificate and its key");
  if (X509_check_private_key(out.certificate.get(), out.key.get()) != 1) return FailSsl("a key of another certificate");
  return out;
}

Result<std::string> CertificatePem(const Pair& pair) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (!out || PEM_write_bio_X509(out.get(), pair.certificate.get()) != 1) return FailSsl("write a certificate");
  return TextOf(out.get());
}

Result<std::string> KeyPem(const Pair& pair) {
  const BioPtr out(BIO_new(BIO_s_secmem()));
  if (!out || PEM_write_bio_PKCS8PrivateKey(out.get(), pair.key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return FailSsl("write a key");
  }
  return TextOf(out.get());
}

bool SignedBy(const Pair& pair, const Pair& authority) {
  const bool good = X509_check_issued(authority.certificate.get(), pair.certificate.get()) == X509_V_OK &&
                    X509_verify(pair.certificate.get(), authority.key.get()) == 1;
  ERR_clear_error();
  return good;
}

std::int64_t SecondsLeft(const Pair& pair, std::int64_t now_s) {
  const time_t now = now_s;
  const auto until = [now](const ASN1_TIME* when) -> std::int64_t {
    int days = 0;
    int seconds = 0;
    const std::unique_ptr<ASN1_TIME, Freer<ASN1_TIME, ASN1_TIME_free>> from(ASN1_TIME_set(nullptr, now));
    if (!from || ASN1_TIME_diff(&days, &seconds, from.get(), when) != 1) return -1;
    return static_cast<std::int64_t>(days) * 86'400 + seconds;
  };
  if (until(X509_get0_notBefore(pair.certificate.get())) > 0) return -1;
  return until(X509_get0_notAfter(pair.certificate.get()));
}

bool Names(const Pair& pair, const std::vector<std::string>& names) {
  const auto raw = SanOf(pair);
  if (!raw) return names.empty();
  const NamesPtr present(*raw);
  for (const std::string& name : names) {
    const NamePtr wanted = GeneralName(name);
    bool found = false;
    for (int i = 0; wanted && i < sk_GENERAL_NAME_num(present.get()); ++i) {
      found = found || GENERAL_NAME_cmp(sk_GENERAL_NAME_value(present.get(), i), wanted.get()) == 0;
    }
    if (!found) return false;
  }
  return true;
}

Result<std::string> CanonicalName(std::string_view name) {
  std::string text(name);
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  if (const auto address = AddressBytes(text)) {
    std::array<char, INET6_ADDRSTRLEN> out{};
    const int family = address->size() == 4 ? AF_INET : AF_INET6;
    if (::inet_ntop(family, address->data(), out.data(), out.size()) != nullptr) return std::string(out.data());
  }
  bool good = !text.empty() && text.size() <= 253 && text.front() != '.' && text.back() != '.' && text.front() != '-';
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.');
  }
  if (!good || text.find("..") != std::string::npos) return Fail(Code::kInvalid, "not a host name or an address");
  return text;
}

Result<Bytes> MakePkcs12(const Pair& pair, const Pair& authority, const std::string& friendly_name,
                         const std::string& password) {
  const std::unique_ptr<STACK_OF(X509), StackFree> chain(sk_X509_new_null());
  if (!chain || sk_X509_push(chain.get(), authority.certificate.get()) == 0) return FailSsl("pack a certificate");
  const Pkcs12Ptr packed(PKCS12_create(password.c_str(), friendly_name.c_str(), pair.key.get(), pair.certificate.get(),
                                       chain.get(), NID_aes_256_cbc, NID_aes_256_cbc, kPkcs12Iterations,
                                       kPkcs12Iterations, 0));
  if (!packed) return FailSsl("pack a certificate");
  const int length = i2d_PKCS12(packed.get(), nullptr);
  if (length <= 0) return FailSsl("pack a certificate");
  Bytes out(static_cast<std::size_t>(length));
  auto* at = reinterpret_cast<unsigned char*>(out.data());
  if (i2d_PKCS12(packed.get(), &at) != length) return FailSsl("pack a certificate");
  return out;
}

bool OpensPkcs12(ByteView packed, const std::string& password, const Pair& pair) {
  const auto* at = reinterpret_cast<const unsigned char*>(packed.data());
  const Pkcs12Ptr parsed(d2i_PKCS12(nullptr, &at, static_cast<long>(packed.size())));
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  const bool opened = parsed && PKCS12_parse(parsed.get(), password.c_str(), &key, &certificate, nullptr) == 1;
  const Pair inside{std::unique_ptr<X509, X509Free>(certificate), std::unique_ptr<EVP_PKEY, KeyFree>(key)};
  ERR_clear_error();
  return opened && inside.certificate && X509_cmp(inside.certificate.get(), pair.certificate.get()) == 0;
}

Result<std::string> RandomText(std::size_t length) {
  static constexpr std::string_view kLetters = "0123456789abcdefghjkmnpqrstvwxyz";  // no i, l, o, u
  static_assert(kLetters.size() == 32);
  std::vector<unsigned char> raw(length);
  if (RAND_bytes(raw.data(), static_cast<int>(length)) != 1) return FailSsl("random bytes");
  std::string out;
  for (const unsigned char value : raw) out.push_back(kLetters[value % kLetters.size()]);
  return out;
}

Result<Hash> CertificateFingerprint(std::string_view pem) {
  const BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const std::unique_ptr<X509, X509Free> certificate(PEM_read_bio_X509(in.get(), nullptr, NoPassword, nullptr));
  if (!certificate) return FailSsl("read a certificate");
  Hash digest{};
  unsigned length = 0;
  if (X509_digest(certificate.get(), EVP_sha256(), reinterpret_cast<unsigned char*>(digest.data()), &length) != 1 ||
      length != digest.size()) {
    return FailSsl("digest of a certificate");
  }
  return digest;
}

}  // namespace stele::daemons
