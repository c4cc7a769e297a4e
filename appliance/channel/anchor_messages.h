// What stele-ledger and stele-anchor say to each other. Few and small, so the bodies are JSON objects with an "op".
//
//   ledger -> anchor (kAnchorRequest)                  anchor -> ledger (kAnchorAnswer)
//   keys        sessions to check, new session id       keys       one MAC key per session
//   recovered   LogState                                verdict    Verdict
//   checkpoint  CheckpointRequest                       intent     Intent (signed, slot persisted) or refused
//   confirmed   the intent is durable                   extended   Extended: PCR read back; perhaps a receipt
//   receipt     the receipt is durable                  -
//   attest      AttestRequest: an auditor's nonce       attested    attest.json (docs/format.md), or refusal
//   -                                                   status     at any time: anchor status, alarms
//
// Order and reasons: entries durable -> checkpoint -> slot persisted, signed -> intent durable -> confirmed -> PCR_Extend,
// read-back -> (anchor due) NV_Extend, NV_Increment, Quote, NV_Certify -> receipt durable. One request is open at a time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/base/bytes.h"

namespace stele::channel {

struct KeysRequest {
  std::vector<Hash> sessions;  // session ids (random, 32 bytes) whose blocks recovery must check
  Hash new_session{};
};
struct KeysAnswer {
  std::vector<Hash> keys;  // in the order asked
  Hash new_key{};
};

// The log as recovery found it.
struct LogState {
  Hash log_id{};
  std::uint64_t size = 0;
  Hash root{};
  std::vector<Hash> frontier;                // right edge at size, largest subtree first
  std::optional<std::string> last_receipt;   // payload of the newest anchor entry
  std::vector<std::string> intents;          // payloads of the checkpoint entries that recovery needs, oldest first:
                                             // the newest one with anchor != 0, and the newest two
  bool bytes_valid = true;                   // everything present is whole and authenticated
  std::uint64_t tail_records = 0;            // above the newest checkpoint
  std::int64_t tail_since_wall_ns = 0;
};

struct Verdict {
  std::string word;  // OK, OK_UNANCHORED_TAIL, RECOVERED_CRASH, ROLLED_BACK, ... (architecture.md section 10's stable words)
  std::vector<std::string> qualifiers;
  std::string detail;                 // for a person: what is missing, where
  bool may_anchor = true;             // false: keep logging, alarmed, no more anchors
  std::optional<std::string> late_receipt;  // payload of a receipt that recovery finished; append it
};

struct CheckpointRequest {
  std::uint64_t size = 0;
  Hash root{};
  std::uint64_t range_begin = 0;      // the size the anchor signed last
  std::vector<Hash> range_hashes;     // compact range [range_begin, size): with the anchor's own frontier it gives root
  bool want_anchor = false;           // on demand; the anchor also decides by its own interval
};

struct Intent {
  std::string payload;        // the checkpoint entry's payload, docs/entries.md
  std::uint64_t number = 0;   // j of this boot
  std::uint64_t anchor = 0;   // 0: PCR only
};

struct Extended {
  std::uint64_t number = 0;
  std::optional<std::string> receipt;  // the anchor entry's payload
  std::string status_json;             // see AnchorStatus below
};

// status_json: {"state":"anchored"|"unanchored","unanchored_since_ns":null|N,"pcr":"hex","counter":N,"index":"hex",
//  "anchor":A,"anchored_size":N,"extended_size":N,"anchored_wall_ns":N,"extended_wall_ns":N,"reset_count":N,
//  "restart_count":N,"nv_writes":N,"nv_budget":N,"key":"tpm-sealed"|"file","key_policy":"PCR 14","software_tpm":true,"verdict":"OK",
//  "verdict_qualifiers":[...],"verdict_detail":"","may_anchor":true,"last_error":""}
// *_size: what is covered; *_wall_ns: when the log had that size (0: not known), so that now - *_wall_ns is the age of
// the oldest record that is not covered.

struct AttestRequest {
  Hash nonce{};
  bool demanded = false;  // an anchor was asked for with it: the answer says what became of that
};

struct AnchorRequest {
  std::string op;
  AttestRequest attest;
  KeysRequest keys;
  LogState state;
  CheckpointRequest checkpoint;
  std::uint64_t number = 0;  // confirmed, receipt
};
struct AnchorAnswer {
  std::string op;  // keys verdict intent refused extended attested status
  KeysAnswer keys;
  Verdict verdict;
  Intent intent;
  Extended extended;
  std::string attest_json;  // attested; empty: refused
  std::string refusal;      // refused, attested: why (for example: not consistent with the last signed checkpoint)
  std::string status_json;  // status
  std::string alarm;        // status: non-empty = write this alarm entry
  std::uint64_t signed_size = 0;  // verdict, refused: the size the anchor signed last; the next range_begin
};

[[nodiscard]] Bytes EncodeAnchorRequest(const AnchorRequest& request);
[[nodiscard]] Result<AnchorRequest> DecodeAnchorRequest(ByteView body);
[[nodiscard]] Bytes EncodeAnchorAnswer(const AnchorAnswer& answer);
[[nodiscard]] Result<AnchorAnswer> DecodeAnchorAnswer(ByteView body);

}  // namespace stele::channel
