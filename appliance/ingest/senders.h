// Who may send over HTTPS, and under which name: bearer tokens and client certificates registered one by one.
//
// Secrets are compared as digests in constant time: nothing is told about a token or its length. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::ingest {

struct Sender {
  std::string name;                  // goes into the `source` entry; empty for tokens of the plain list
  std::optional<Hash> token_sha256;  // one of the two
  std::optional<Hash> fingerprint;   // SHA-256 of the client certificate's DER
};

class SenderSet {
 public:
  // `tokens`: plain bearer tokens without a name.
  SenderSet(const std::vector<std::string>& tokens, std::vector<Sender> senders);
  [[nodiscard]] bool empty() const { return senders_.empty(); }  // then everybody may send, without a name
  [[nodiscard]] bool has_fingerprints() const;

  // The sender's name. `credentials`: the value of `Authorization`, empty when absent: Bearer TOKEN, ApiKey TOKEN, or
  // Basic with the token as the password. `certificate`: the client's, where it showed one. kDenied: unknown; or a
  // token and a certificate that name two senders.
  [[nodiscard]] Result<std::string> Admit(std::string_view credentials, const std::optional<Hash>& certificate) const;

  // The name (empty on the plain list) of the one whose token it is; for ways in that have no header.
  [[nodiscard]] std::optional<std::string> NameOfToken(std::string_view token) const;

 private:
  std::vector<Sender> senders_;
};

// The token of an `Authorization` value; absent: another scheme or malformed.
[[nodiscard]] std::optional<std::string> TokenOf(std::string_view credentials);

}  // namespace stele::ingest
