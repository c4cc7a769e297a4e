// An auditor's nonce on its way from stele-query to stele-ledger, which asks the anchor (anchor_messages.h), and the answer.
//
//   kAttestRequest := id:u64 nonce[32] demand:u8          demand 1: make an anchor first, if the TPM's wear allows
//   kAttestAnswer  := id:u64 granted:u8 text:sized        granted 1: attest.json (docs/format.md); 0: why not
#pragma once

#include <string>

#include "appliance/base/bytes.h"

namespace stele::channel {

struct AttestQuestion {
  std::uint64_t id = 0;  // chosen by the asker
  Hash nonce{};
  bool demand = false;
};
[[nodiscard]] Bytes EncodeAttestQuestion(const AttestQuestion& question);
[[nodiscard]] Result<AttestQuestion> DecodeAttestQuestion(ByteView body);

struct AttestReply {
  std::uint64_t id = 0;
  bool granted = false;
  std::string text;
};
[[nodiscard]] Bytes EncodeAttestReply(const AttestReply& reply);
[[nodiscard]] Result<AttestReply> DecodeAttestReply(ByteView body);

}  // namespace stele::channel
