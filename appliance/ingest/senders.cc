#include "appliance/ingest/senders.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "appliance/base/hash.h"
#include "appliance/base/limits.h"

namespace stele::ingest {
namespace {

bool Same(const Hash& a, const Hash& b) { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

bool StartsWithScheme(std::string_view text, std::string_view lower_scheme) {
  if (text.size() <= lower_scheme.size()) return false;
  return std::equal(lower_scheme.begin(), lower_scheme.end(), text.begin(), [](char wanted, char found) {
    return wanted == (found >= 'A' && found <= 'Z' ? static_cast<char>(found - 'A' + 'a') : found);
  });
}

}  // namespace

std::optional<std::string> TokenOf(std::string_view credentials) {
  constexpr std::string_view kBearer = "bearer ";
  constexpr std::string_view kApiKey = "apikey ";
  constexpr std::string_view kBasic = "basic ";
  if (StartsWithScheme(credentials, kBearer)) return std::string(credentials.substr(kBearer.size()));
  if (StartsWithScheme(credentials, kApiKey)) return std::string(credentials.substr(kApiKey.size()));
  if (!StartsWithScheme(credentials, kBasic)) return std::nullopt;
  const auto pair = ParseBase64(credentials.substr(kBasic.size()), limits::kHttpHeaderBytes);
  if (!pair) return std::nullopt;
  const std::string_view text = AsText(*pair);
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return std::string(text.substr(colon + 1));
}

SenderSet::SenderSet(const std::vector<std::string>& tokens, std::vector<Sender> senders)
    : senders_(std::move(senders)) {
  for (const auto& token : tokens) senders_.push_back({"", Sha256Of(AsBytes(token)), std::nullopt});
}

bool SenderSet::has_fingerprints() const {
  return std::any_of(senders_.begin(), senders_.end(), [](const Sender& one) { return one.fingerprint.has_value(); });
}

std::optional<std::string> SenderSet::NameOfToken(std::string_view token) const {
  const Hash digest = Sha256Of(AsBytes(token));
  const Sender* found = nullptr;
  for (const Sender& one : senders_) {  // all of them, always
    if (one.token_sha256 && Same(*one.token_sha256, digest)) found = &one;
  }
  return found == nullptr ? std::nullopt : std::optional(found->name);
}

Result<std::string> SenderSet::Admit(std::string_view credentials, const std::optional<Hash>& certificate) const {
  if (senders_.empty()) return std::string();
  const auto token = TokenOf(credentials);
  const Hash digest = Sha256Of(AsBytes(token.value_or("")));
  const Sender* by_token = nullptr;
  const Sender* by_certificate = nullptr;
  for (const Sender& one : senders_) {  // all of them, always
    if (token && one.token_sha256 && Same(*one.token_sha256, digest)) by_token = &one;
    if (certificate && one.fingerprint && Same(*one.fingerprint, *certificate)) by_certificate = &one;
  }
  if (!credentials.empty() && by_token == nullptr) return Fail(Code::kDenied, "the credentials are not known");
  if (by_token == nullptr && by_certificate == nullptr)
    return Fail(Code::kDenied, "a token or a registered client certificate is needed");
  if (by_token == nullptr) return by_certificate->name;
  if (by_certificate == nullptr || by_certificate->name == by_token->name) return by_token->name;
  if (by_token->name.empty()) return by_certificate->name;
  return Fail(Code::kDenied, "token and certificate name two senders");
}

}  // namespace stele::ingest
