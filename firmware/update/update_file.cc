#include "firmware/update/update_file.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>

namespace stele::update {
namespace {

constexpr std::string_view kDomain = "stele/update/v1";

struct BioFree {
  void operator()(BIO* bio) const noexcept { (void)BIO_free(bio); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
struct ContextFree {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

const unsigned char* Raw(ByteView bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }

bool ReadPart(const nlohmann::json& manifest, const char* name, Part& out) {
  const auto part = manifest.find(name);
  if (part == manifest.end() || !part->is_object()) return false;
  const auto size = part->find("bytes");
  const auto digest = part->find("sha256");
  if (size == part->end() || !size->is_number_unsigned() || digest == part->end() || !digest->is_string()) return false;
  const auto hash = ParseHash(digest->get_ref<const std::string&>());
  if (!hash) return false;
  out.size_bytes = size->get<std::uint64_t>();
  out.digest = *hash;
  return out.size_bytes >= 1 && out.size_bytes <= kPartBytesMax;
}

bool IsModel(std::string_view text) {
  return !text.empty() && text.size() <= kModelBytesMax &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-._") == std::string_view::npos;
}

nlohmann::ordered_json Encoded(const Part& part) {
  return {{"bytes", part.size_bytes}, {"sha256", HexOf(part.digest)}};
}

}  // namespace

Result<Head> ParseHead(ByteView bytes) {
  Reader reader(bytes);
  const ByteView magic = reader.Raw(kMagic.size());
  const auto format = reader.Int<std::uint32_t>();
  Head head;
  head.manifest_bytes = reader.Int<std::uint32_t>();
  const ByteView signature = reader.Raw(kSignatureBytes);
  if (!reader.ok() || AsText(magic) != kMagic) return Fail(Code::kInvalid, "it is not an update");
  if (format != kFormat) return Fail(Code::kInvalid, "it is an update of a form that this version does not know");
  if (head.manifest_bytes == 0 || head.manifest_bytes > kManifestBytesMax)
    return Fail(Code::kInvalid, "its manifest has an impossible size");
  std::copy(signature.begin(), signature.end(), head.signature.begin());
  return head;
}

Result<Manifest> ParseManifest(std::string_view json) {
  const auto wrong = Fail(Code::kInvalid, "its manifest is not one");
  if (json.size() > kManifestBytesMax) return wrong;
  const auto object = nlohmann::json::parse(json, nullptr, false);
  if (!object.is_object()) return wrong;
  const auto model = object.find("model");
  const auto version = object.find("version");
  if (model == object.end() || !model->is_string() || version == object.end() || !version->is_number_unsigned())
    return wrong;
  Manifest manifest;
  manifest.model = model->get<std::string>();
  manifest.version = version->get<std::uint64_t>();
  if (!IsModel(manifest.model) || !ReadPart(object, "root", manifest.root) ||
      !ReadPart(object, "tree", manifest.tree) || !ReadPart(object, "uki", manifest.uki))
    return wrong;
  return manifest;
}

std::string EncodeManifest(const Manifest& manifest) {
  const nlohmann::ordered_json object = {{"model", manifest.model},
                                         {"version", manifest.version},
                                         {"root", Encoded(manifest.root)},
                                         {"tree", Encoded(manifest.tree)},
                                         {"uki", Encoded(manifest.uki)}};
  return object.dump();
}

Bytes SignedMessage(ByteView manifest) {
  Bytes message = ToBytes(AsBytes(kDomain));
  message.push_back(std::byte{0});
  Append(message, manifest);
  return message;
}

// RFC 8032 by OpenSSL: PureEdDSA, the message in one piece.
Result<void> CheckSignature(ByteView manifest, ByteView signature, std::string_view key_pem) {
  const std::unique_ptr<BIO, BioFree> bio(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  const std::unique_ptr<EVP_PKEY, KeyFree> key(bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr)
                                                   : nullptr);
  if (!key || EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519)
    return Fail(Code::kInvalid, "this image has no update key");
  const std::unique_ptr<EVP_MD_CTX, ContextFree> context(EVP_MD_CTX_new());
  const Bytes message = SignedMessage(manifest);
  if (!context || EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      EVP_DigestVerify(context.get(), Raw(signature), signature.size(), Raw(message), message.size()) != 1) {
    return Fail(Code::kDenied, "it is not signed with the update key of this image");
  }
  return {};
}

Result<Identity> ParseIdentity(std::string_view os_release) {
  Identity identity;
  bool has_version = false;
  while (!os_release.empty()) {
    const std::string_view line = os_release.substr(0, os_release.find('\n'));
    os_release.remove_prefix(std::min(os_release.size(), line.size() + 1));
    const std::string_view key = line.substr(0, line.find('='));
    const std::string_view value = line.substr(std::min(line.size(), key.size() + 1));
    if (key == "IMAGE_ID") identity.model = value;
    if (key == "IMAGE_VERSION") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), identity.version);
      has_version = error == std::errc{} && end == value.data() + value.size();
    }
  }
  if (!IsModel(identity.model) || !has_version)
    return Fail(Code::kCorrupt, "this image does not say which model and version it is");
  return identity;
}

}  // namespace stele::update
