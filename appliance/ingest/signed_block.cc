#include "appliance/ingest/signed_block.h"

#include <openssl/bn.h>
#include <openssl/dsa.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "appliance/base/hash.h"
#include "appliance/base/limits.h"
#include "appliance/ingest/message.h"
#include "appliance/ingest/syslog5424.h"
#include "appliance/ingest/timestamp.h"

namespace stele::ingest {
namespace {

using Word = SignedBlockReading::Word;

constexpr std::string_view kSignatureId = "ssign";
constexpr std::string_view kCertificateId = "ssign-cert";
constexpr std::string_view kSignBefore = " SIGN=\"";
constexpr std::size_t kLookBytes = 1'024;  // a header of full length ends before it
constexpr std::uint64_t kCounterMax = 9'999'999'999;
constexpr std::uint64_t kPriorityMax = 191;
constexpr std::size_t kHashesMax = 99;
constexpr std::size_t kSha1Bytes = 20;
constexpr std::size_t kDsaGroupBits = 256;  // of q, and so of r and s
constexpr std::size_t kSignatureBytesMax = 2 * (2 + kDsaGroupBits / 8) + 8;

constexpr std::array<std::string_view, 9> kSignatureNames = {"VER", "RSID", "SG", "SPRI", "GBC",
                                                             "FMN", "CNT",  "HB", "SIGN"};
constexpr std::array<std::string_view, 9> kCertificateNames = {"VER",   "RSID", "SG",   "SPRI", "TPBL",
                                                               "INDEX", "FLEN", "FRAG", "SIGN"};
using Values = std::array<std::string_view, 9>;  // in the order of the names

std::optional<std::uint64_t> NumberOf(std::string_view text, std::size_t digits_max, std::uint64_t value_max) {
  if (text.empty() || text.size() > digits_max) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (value > value_max) return std::nullopt;
  return value;
}

// The values of the element's parameters; what is wrong, or nothing.
const char* TakeValues(const ParsedMessage& message, const Element& element,
                       const std::array<std::string_view, 9>& names, Values& out) {
  for (std::uint32_t i = 0; i < element.parameter_count; ++i) {
    const Parameter& parameter = message.parameters[element.parameter_first + i];
    const auto* const name = std::find(names.begin(), names.end(), parameter.name);
    if (name == names.end()) return "a parameter that RFC 5848 does not know";
    std::string_view& value = out[static_cast<std::size_t>(name - names.begin())];
    if (value.data() != nullptr) return "a parameter twice";
    value = parameter.value;
  }
  for (const std::string_view value : out) {
    if (value.data() == nullptr) return "a parameter is missing";
  }
  return nullptr;
}

// VER, RSID, SG and SPRI, which both blocks have.
const char* TakeCommon(const Values& values, SignedBlock& out) {
  const std::string_view version = values[0];
  out.hash = version[2] == '2' ? BlockHash::kSha256 : BlockHash::kSha1;
  const auto session = NumberOf(values[1], 10, kCounterMax);
  const auto kind = NumberOf(values[2], 1, 3);
  const auto priority = NumberOf(values[3], 3, kPriorityMax);
  if (!session || !kind || !priority) return "RSID, SG or SPRI out of range";
  out.session = *session;
  out.group = {static_cast<std::uint8_t>(*kind), static_cast<std::uint8_t>(*priority)};
  return nullptr;
}

const char* TakeHashes(std::string_view text, std::size_t count, SignedBlock& out) {
  const std::size_t digest_bytes = out.hash == BlockHash::kSha1 ? kSha1Bytes : kHashBytes;
  const std::size_t text_bytes = (digest_bytes + 2) / 3 * 4;
  if (text.size() != count * (text_bytes + 1) - 1) return "HB does not hold CNT hashes of the length of VER";
  out.hashes.reserve(count);
  for (std::size_t at = 0; at < text.size(); at += text_bytes + 1) {
    if (at != 0 && text[at - 1] != ' ') return "HB is not hashes with one space between";
    const auto raw = ParseBase64(text.substr(at, text_bytes), digest_bytes);
    if (!raw || raw->size() != digest_bytes) return "HB is not base64";
    MessageDigest digest{};
    std::copy(raw->begin(), raw->end(), digest.begin());
    out.hashes.push_back(digest);
  }
  return nullptr;
}

const char* TakeSignatureBlock(const Values& values, SignedBlock& out) {
  const auto block = NumberOf(values[4], 10, kCounterMax);
  const auto first = NumberOf(values[5], 10, kCounterMax);
  const auto count = NumberOf(values[6], 2, kHashesMax);
  if (!block || !first || !count || *first == 0 || *count == 0 || *first + *count - 1 > kCounterMax) {
    return "GBC, FMN or CNT out of range";
  }
  out.block_number = *block;
  out.first_message = *first;
  return TakeHashes(values[7], static_cast<std::size_t>(*count), out);
}

const char* TakeCertificateBlock(const Values& values, SignedBlock& out) {
  const auto whole = NumberOf(values[4], 8, 99'999'999);
  const auto first = NumberOf(values[5], 8, 99'999'999);
  const auto length = NumberOf(values[6], 4, 9'999);
  if (!whole || !first || !length || *first == 0 || *length == 0 || *first + *length - 1 > *whole) {
    return "TPBL, INDEX or FLEN out of range";
  }
  if (values[7].size() != *length) return "FLEN is not the length of FRAG";
  if (values[7].find('\\') != std::string_view::npos) return "an escape in FRAG";
  out.is_certificate = true;
  out.payload_bytes = static_cast<std::uint32_t>(*whole);
  out.fragment_first = static_cast<std::uint32_t>(*first);
  out.fragment = values[7];
  return nullptr;
}

const char* TakeSignature(std::string_view message, std::string_view value, SignedBlock& out) {
  const auto value_at = static_cast<std::size_t>(value.data() - message.data());
  const std::size_t cut_at = value_at - kSignBefore.size();
  if (message.substr(cut_at, kSignBefore.size()) != kSignBefore) return "SIGN is not behind one space";
  out.signed_head = message.substr(0, cut_at);
  out.signed_tail = message.substr(value_at + value.size() + 1);  // behind the closing quote
  const auto raw = ParseBase64(value, kSignatureBytesMax);
  auto der = raw ? DsaSignatureDer(*raw) : std::nullopt;
  if (!der) return "SIGN does not hold a DSA signature";
  out.signature = std::move(*der);
  return nullptr;
}

bool IsKnownVersion(std::string_view version) { return version == "0111" || version == "0121"; }

SignedBlockReading Malformed(const char* reason) { return {Word::kMalformed, reason, {}}; }

SignedBlockReading ReadElement(std::string_view text, const ParsedMessage& message, const Element& element) {
  SignedBlockReading out;
  const bool is_certificate = element.id == kCertificateId;
  Values values{};
  if (const char* problem =
          TakeValues(message, element, is_certificate ? kCertificateNames : kSignatureNames, values)) {
    return Malformed(problem);
  }
  const std::string_view version = values[0];
  if (!NumberOf(version, 4, 9'999) || version.size() != 4) return Malformed("VER is not four digits");
  if (!IsKnownVersion(version)) {
    return {Word::kUnsupported, "a version, hash or signature scheme that is not known", {}};
  }
  out.block.host = message.host;
  out.block.app = message.app;
  out.block.pid = message.pid;
  const char* problem = TakeCommon(values, out.block);
  if (problem == nullptr) {
    problem = is_certificate ? TakeCertificateBlock(values, out.block) : TakeSignatureBlock(values, out.block);
  }
  if (problem == nullptr) problem = TakeSignature(text, values[8], out.block);
  if (problem != nullptr) return Malformed(problem);
  out.word = Word::kBlock;
  return out;
}

// EVP_Digest by name costs a fetch each time: once is enough.
const EVP_MD* Sha1() {
  static EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  return fetched;
}

MessageDigest DigestOfParts(BlockHash hash, std::string_view head, std::string_view tail) {
  if (hash == BlockHash::kSha256) return Sha256Of({AsBytes(head), AsBytes(tail)});
  MessageDigest out{};
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  unsigned length = 0;
  const bool done = context && EVP_DigestInit_ex2(context.get(), Sha1(), nullptr) == 1 &&
                    EVP_DigestUpdate(context.get(), head.data(), head.size()) == 1 &&
                    EVP_DigestUpdate(context.get(), tail.data(), tail.size()) == 1 &&
                    EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(out.data()), &length) == 1;
  STELE_CHECK(done && length == kSha1Bytes);
  return out;
}

}  // namespace

MessageDigest DigestOf(BlockHash hash, ByteView message) { return DigestOfParts(hash, AsText(message), {}); }

bool MayBeSignedBlock(ByteView message) {
  const Priority priority = PeekPriority(message.first(std::min(message.size(), kLookBytes)));
  const std::string_view text = AsText(message.first(std::min(message.size(), kLookBytes)));
  if (priority.length_bytes == 0 || !LooksLike5424(text.substr(priority.length_bytes))) return false;
  for (std::size_t at = text.find('['); at != std::string_view::npos; at = text.find('[', at + 1)) {
    if (text.substr(at + 1, kSignatureId.size()) == kSignatureId) return true;
  }
  return false;
}

SignedBlockReading ReadSignedBlock(ByteView message) {
  if (!MayBeSignedBlock(message)) return {};
  const std::string_view text = AsText(message);
  const ParsedMessage parsed = ParseSyslog(message, 0);
  if (parsed.format != Format::kRfc5424) return {};
  const Element* found = nullptr;
  for (const Element& element : parsed.elements) {
    if (element.id != kSignatureId && element.id != kCertificateId) continue;
    if (found != nullptr) return Malformed("two blocks in one message");
    found = &element;
  }
  if (found == nullptr) {
    if (!parsed.Has(kBadStructuredData)) return {};
    const std::string_view rest = text.substr(parsed.message_offset);
    const bool meant = rest.starts_with("[ssign ") || rest.starts_with("[ssign-cert ");
    return meant ? Malformed("the block is cut or no structured data") : SignedBlockReading();
  }
  if (message.size() > limits::kSignedBlockBytes) return Malformed("longer than 64 KiB");
  if (parsed.Has(kInvalid5424 | kUnlisted)) return Malformed("the message is not RFC 5424");
  return ReadElement(text, parsed, *found);
}

SignatureProof ProofOf(const SignedBlock& block) {
  return {block.signature, DigestOfParts(block.hash, block.signed_head, block.signed_tail),
          block.hash == BlockHash::kSha1 ? kSha1Bytes : kHashBytes};
}

std::optional<PayloadBlock> ReadPayloadBlock(std::string_view text) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || !ParseTime5424(text.substr(0, space))) return std::nullopt;
  text.remove_prefix(space + 1);
  if (text.empty() || std::string_view("CPKNU").find(text.front()) == std::string_view::npos) return std::nullopt;
  PayloadBlock out;
  out.key_type = text.front();
  text.remove_prefix(1);
  if (!text.empty() && text.front() != ' ') return std::nullopt;
  if (!text.empty()) text.remove_prefix(1);
  auto blob = ParseBase64(text, limits::kSignedPayloadBytes);
  if (!blob || blob->empty() != (out.key_type == 'N')) return std::nullopt;
  out.key_blob = std::move(*blob);
  return out;
}

std::optional<ByteView> TakeMpi(ByteView& bytes, std::size_t bits_max) {
  if (bytes.size() < 2) return std::nullopt;
  const std::size_t bits = std::to_integer<std::size_t>(bytes[0]) << 8U | std::to_integer<std::size_t>(bytes[1]);
  const std::size_t size = (bits + 7) / 8;
  if (bits > bits_max || size > bytes.size() - 2) return std::nullopt;
  const ByteView number = bytes.subspan(2, size);
  if (bits % 8 != 0 && std::to_integer<unsigned>(number[0]) >> (bits % 8 - 1) != 1) return std::nullopt;
  bytes = bytes.subspan(2 + size);
  return number;
}

std::optional<Bytes> DsaSignatureDer(ByteView signature) {
  std::unique_ptr<DSA_SIG, decltype(&DSA_SIG_free)> pair(nullptr, DSA_SIG_free);
  if (!signature.empty() && signature[0] == std::byte{0x30}) {  // as the length of a number it would be 12 KiB
    const auto* at = reinterpret_cast<const unsigned char*>(signature.data());
    pair.reset(d2i_DSA_SIG(nullptr, &at, static_cast<long>(signature.size())));
    if (!pair || at != reinterpret_cast<const unsigned char*>(signature.data() + signature.size())) return std::nullopt;
  } else {
    const auto r = TakeMpi(signature, kDsaGroupBits);
    const auto s = r ? TakeMpi(signature, kDsaGroupBits) : std::nullopt;
    if (!s || !signature.empty()) return std::nullopt;
    const auto number = [](ByteView raw) {
      return BN_bin2bn(reinterpret_cast<const unsigned char*>(raw.data()), static_cast<int>(raw.size()), nullptr);
    };
    pair.reset(DSA_SIG_new());
    if (!pair || DSA_SIG_set0(pair.get(), number(*r), number(*s)) != 1) return std::nullopt;
  }
  unsigned char* der = nullptr;
  const int length = i2d_DSA_SIG(pair.get(), &der);
  if (length <= 0) return std::nullopt;
  const auto* first = reinterpret_cast<const std::byte*>(der);
  Bytes out(first, first + length);
  OPENSSL_free(der);
  return out;
}

}  // namespace stele::ingest
