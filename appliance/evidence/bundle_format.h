// What a bundle consists of: the names of its members, their order and bounds, and bundle.json. Normative: docs/format.md,
// "Evidence bundle". Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"
#include "appliance/record/entry.h"

namespace stele::evidence {

inline constexpr std::string_view kFolder = "evidence/";
inline constexpr std::size_t kChunkRecords = 16'384;
inline constexpr std::size_t kChunkPayloadBytes = 4 * limits::kMiB;  // unless it is one record
inline constexpr std::size_t kChunksMax = 1'000'000;
inline constexpr std::size_t kProofsMax = 64;
inline constexpr std::size_t kAnchorNotesMax = 64;  // anchors whose note is carried, newest first
inline constexpr std::uint64_t kBundleVersion = 1;

// In archive order.
enum class Part : std::uint8_t {
  kReadme,
  kBundle,
  kRecord,
  kRecordSignature,
  kProvisioningKey,
  kEpochs,
  kAkPem,
  kAkPublic,
  kEkCertificate,
  kEkChain,
  kVkey,
  kCheckpoint,
  kAttest,
  kQuoteAttest,
  kQuoteSignature,
  kQuoteDer,
  kPcrs,
  kToolPcrs,
  kCounterAttest,
  kCounterSignature,
  kCounterDer,
  kIndexAttest,
  kIndexSignature,
  kIndexDer,
  kReceipt,
  kReceiptBefore,
  kAnchorsCel,
  kCheckpointsTcg,
  kCheckpointsCel,
  kBootTcg,
  kCosigned,
  kWitnessPolicy,
  kProof,  // number: the entry's sequence
  kEntries,  // number of this and the next four: the chunk
  kTree,
  kSalts,
  kPeers,
  kPayloads,
  kEndTree,
  kVerifyPage,
  kManifest,
};
inline constexpr std::size_t kPartCount = static_cast<std::size_t>(Part::kManifest) + 1;

struct Member {
  Part part = Part::kReadme;
  std::uint64_t number = 0;
};
[[nodiscard]] std::string NameOf(const Member& member);  // without kFolder
[[nodiscard]] std::optional<Member> ParseName(std::string_view name);
[[nodiscard]] std::uint64_t BoundOf(Part part);
[[nodiscard]] bool IsOptional(Part part);  // of those that come once
[[nodiscard]] bool ComesBefore(const Member& a, const Member& b);

struct BundleInfo {
  Hash log_id{};
  std::string origin;
  Hash nonce{};
  std::int64_t created_ns = 0;
  std::string software;
  std::string selection_kind;  // range query records
  std::string selection_text;
  bool scope_limited = false;
  std::uint64_t records = 0;
  bool payloads = false;
  std::uint64_t log_size = 0;
  std::vector<std::uint64_t> marks;
  std::uint64_t anchors_first = 0;
  std::uint64_t anchors_count = 0;
  std::uint32_t pcr = 14;
  bool pcr_from_baseline = false;
  std::uint64_t pcr_events = 0;
};
[[nodiscard]] std::string EncodeBundleInfo(const BundleInfo& info);
// kInvalid: not such an object, or a bound is exceeded.
[[nodiscard]] Result<BundleInfo> DecodeBundleInfo(std::string_view text);

}  // namespace stele::evidence
