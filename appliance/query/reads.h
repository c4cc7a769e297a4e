// The reading calls of docs/api.md, answered from the store. One object per worker thread, each with its own LogReader:
// it knows nothing of channels, sessions or access entries (service.h does).
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "appliance/anchor/provisioning_record.h"
#include "appliance/query/identity.h"
#include "appliance/query/render.h"
#include "appliance/query/search.h"
#include "appliance/record/habit.h"

namespace stele::query {

inline constexpr std::int64_t kSearchTimeBoxNs = 10'000'000'000;
inline constexpr std::int64_t kSourcesTimeBoxNs = 5'000'000'000;
inline constexpr std::int64_t kNetworkTimeBoxNs = 3'000'000'000;
inline constexpr std::int64_t kContextTimeBoxNs = 3'000'000'000;
inline constexpr std::int64_t kTailSliceNs = 20'000'000;
inline constexpr std::size_t kTailSliceRows = 100;
inline constexpr std::size_t kHistogramBucketsDefault = 120;
inline constexpr std::size_t kHistogramBucketsMax = 1'000;
inline constexpr std::size_t kContextRowsMax = 200;
inline constexpr std::size_t kCheckpointsListed = 50;
inline constexpr std::size_t kAnchorsListed = 20;
// One answer of a feed. Time over the pause of who asks bounds what a flow costs while records pour in.
inline constexpr std::int64_t kFeedTimeBoxNs = 30'000'000;
inline constexpr std::size_t kFeedRows = 256;
inline constexpr std::size_t kFeedBytes = std::size_t{256} * 1024;        // of payloads, the last one apart
inline constexpr std::size_t kFeedPayloadBytes = std::size_t{64} * 1024;  // of one payload; what is longer is cut and says its size

enum class Call : std::uint8_t {
  kStatus,
  kMetrics,    // the status as OpenMetrics text: /metrics
  kSearch,
  kRecord,
  kPayload,
  kContext,
  kHistogram,
  kTail,
  kIntegrity,
  kConsistency,
  kProof,
  kSources,
  kNetwork,
  kAttest,
  kBundle,
  kTreeHead,  // of the static tree: /log/checkpoint
  kTile,      // and /log/tile/...
  kFeed       // stele-courier's: what a flow of stele.toml carries
};

struct ReadRequest {
  Call call = Call::kSearch;
  std::uint64_t sequence = 0;  // of /record/SEQ and /proof/SEQ
  ledger::Tile tile;           // of /log/tile/...
  std::string feed;            // the flow's name
  bool as_signed = false;      // /log/checkpoint for stele-courier: the newest, whoever has cosigned what
  std::map<std::string, std::string> parameters;
  Scope scope;
  std::string status_json;  // the ledger's status: integrity, sources and network show parts of it
  std::shared_ptr<const std::string> network_json = {};  // the network of the running configuration; nullptr: not told
  std::string attest_json;  // bundle: what the TPM said to the caller's nonce
  std::string cosigned_note;  // bundle: as it was before the TPM was asked, so that the quoted checkpoint is no smaller; empty: none
};

struct Answer {
  int status = 200;
  std::string content_type = "application/json";
  std::map<std::string, std::string> headers;
  std::string body;
  // For the access entry.
  std::string query;
  std::string from_ns;
  std::string to_ns;
  std::uint64_t size = 0;
  std::uint64_t rows = 0;
};
[[nodiscard]] Answer Refusal(int status, std::string_view code, std::string_view message);

// What a flow may carry beside alarms.
struct FeedRules {
  bool losses = false;
  std::vector<std::string> sources;  // the operator's names of sources, all of whose records go
};

// What a worker is told at its start.
struct ReadsConfig {
  std::string origin;
  std::string vkey;
  std::string provisioning_json;                 // of genesis
  std::vector<anchor::SignedRecord> epochs = {};  // of each later epoch
  Bytes boot_log = {};  // the firmware's event log, empty where there is none
  std::string cosigned_path = {};  // the newest checkpoint with a quorum of cosignatures (appliance/witness); empty: none are asked
  std::string witness_policy = {};  // the box's own, rides in bundles
  std::string ek_chain_pem = {};    // certificates above the EK's, ride in bundles
  bool cosigned_only = false;    // without it no checkpoint is served (witness.quorum_missing = "closed")
  std::int64_t cosigned_max_age_s = 0;  // open: when the cosigned one is older, the newest is served bare
  std::map<std::string, FeedRules> feeds = {};  // by the flow's name
  bool tree_public = false;      // who may fetch tiles decides whether caches between may keep them
};

class Bundle;

// A piece of a live tail.
struct TailSlice {
  std::string text;  // server-sent events
  std::uint64_t next = 0;
  std::uint64_t rows = 0;
  bool more = false;  // records are waiting beyond `next`
};

class Reads {
 public:
  // `reader` reads from `shelf`; `config` must outlive the object.
  Reads(std::unique_ptr<DeviceShelf> shelf, std::unique_ptr<store::LogReader> reader, Clock& clock, const ReadsConfig& config);
  static Result<std::unique_ptr<Reads>> Open(std::unique_ptr<DeviceShelf> shelf, Clock& clock, const ReadsConfig& config);

  // Makes records up to `position` readable.
  [[nodiscard]] Result<void> Refresh(std::uint64_t position) { return reader_->Refresh(position); }
  [[nodiscard]] Answer Run(const ReadRequest& request, const std::atomic<bool>& cancelled);

  // The next events of a live tail from sequence `next` on; bounded in time and rows.
  [[nodiscard]] TailSlice Tail(const Matcher& matcher, std::uint64_t next, const std::atomic<bool>& cancelled);

  // bundle.h: what goes into a bundle; its pieces.
  [[nodiscard]] Answer PrepareBundle(const ReadRequest& request, const std::atomic<bool>& cancelled, std::shared_ptr<Bundle>& out);
  [[nodiscard]] Result<Bytes> NextOfBundle(Bundle& bundle, const std::atomic<bool>& cancelled);

  [[nodiscard]] std::uint64_t size() const { return reader_->size(); }
  // Empty, or the first place the store cannot be read at.
  [[nodiscard]] const std::string& damage() const { return reader_->damage(); }
  [[nodiscard]] std::string log_id() const { return HexOf(reader_->log_id()); }
  // The newest checkpoint, or nothing.
  [[nodiscard]] std::optional<CheckpointInfo> NewestCheckpoint();

 private:
  template <typename T>
  using Tried = tl::expected<T, Answer>;
  struct Frozen {
    std::optional<CheckpointInfo> checkpoint;
    std::uint64_t size = 0;
  };

  // reads.cc
  [[nodiscard]] Answer Dispatch(const ReadRequest& request, const std::atomic<bool>& cancelled);
  [[nodiscard]] Answer Search(const ReadRequest& request, const std::atomic<bool>& cancelled);
  [[nodiscard]] Answer Histogram(const ReadRequest& request, const std::atomic<bool>& cancelled);
  [[nodiscard]] Tried<Frozen> Freeze(const ReadRequest& request, bool whole_without_size);
  [[nodiscard]] std::optional<CheckpointInfo> CheckpointAt(std::uint64_t sequence, std::int64_t time_ns, std::string_view payload);
  [[nodiscard]] std::vector<Span> ExpiredIn(const ScanRange& range) const;
  [[nodiscard]] std::optional<CheckpointInfo> CheckpointOfSize(std::uint64_t size);
  [[nodiscard]] std::optional<RowProof> ProofOf(std::uint64_t sequence, std::uint64_t size);
  [[nodiscard]] nlohmann::json ProvenRow(RecordFields& fields, std::uint64_t size);

  // reads_record.cc
  [[nodiscard]] Answer Record(const ReadRequest& request);
  [[nodiscard]] Answer Payload(const ReadRequest& request);
  [[nodiscard]] Answer Context(const ReadRequest& request, const std::atomic<bool>& cancelled);
  [[nodiscard]] Answer Proof(const ReadRequest& request);
  [[nodiscard]] Tried<Scanner::One> InScope(const ReadRequest& request);

  // reads_tree.cc
  [[nodiscard]] Answer TreeHead(const ReadRequest& request);
  [[nodiscard]] std::optional<std::string> CosignedHead();
  [[nodiscard]] Answer Tile(const ReadRequest& request);

  // reads_feed.cc
  [[nodiscard]] Answer Feed(const ReadRequest& request, const std::atomic<bool>& cancelled);
  [[nodiscard]] std::uint64_t FeedStart();

  // reads_integrity.cc
  [[nodiscard]] Answer Integrity(const ReadRequest& request);
  [[nodiscard]] Answer Consistency(const ReadRequest& request);
  [[nodiscard]] Answer Sources(const ReadRequest& request, const std::atomic<bool>& cancelled);
  [[nodiscard]] nlohmann::json CheckpointsJson();
  [[nodiscard]] nlohmann::json AnchorsJson();

  // reads_network.cc
  // The newest entries about the network policy. All records of [low, high) have been looked at.
  struct PolicyTrail {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::optional<std::uint64_t> change;   // asked for
    std::optional<std::uint64_t> outcome;  // applied, or failed
  };
  [[nodiscard]] Answer Network(const ReadRequest& request, const std::atomic<bool>& cancelled);
  [[nodiscard]] Result<bool> FollowPolicy(const std::atomic<bool>& cancelled);
  [[nodiscard]] nlohmann::json PolicyEntry(std::optional<std::uint64_t> sequence, const Matcher* in_scope);

  struct SourceTotals {
    std::uint64_t first_sequence = 0;
    std::uint64_t last_sequence = 0;
    std::int64_t first_ns = 0;
    std::int64_t last_ns = 0;
    std::uint64_t events = 0;
    record::Habit habit;             // over receive times
    std::uint64_t gaps = 0;          // intervals far above its habit
    std::int64_t minute = 0;         // of the newest event; the events in it, and in the one before
    std::uint64_t in_minute = 0;
    std::uint64_t in_minute_before = 0;
    // Claimed minus receive time, of one event a second at most.
    std::int64_t skew_sampled_ns = 0;
    std::optional<std::int64_t> skew_ns, skew_ns_min, skew_ns_max;
    bool skew_zone_known = false;
  };
  void CountEvent(SourceTotals& totals, RecordFields& fields, std::uint64_t silence_messages, std::int64_t silence_factor,
                  std::int64_t silence_min_ns);
  [[nodiscard]] nlohmann::json SourceRow(std::uint32_t id, const SourceTotals& totals, const SourceNames* names) const;

  std::unique_ptr<DeviceShelf> shelf_;  // outlives the reader
  std::unique_ptr<store::LogReader> reader_;
  Clock& clock_;
  const ReadsConfig& config_;
  Scanner scanner_;
  std::map<std::uint32_t, SourceTotals> totals_;
  std::uint64_t totals_end_ = 0;  // records counted in totals_
  PolicyTrail trail_;
};

// The parsed query of a request, with its scope: for searches, histograms and tails alike.
struct ScopedQuery {
  Node query;  // as asked
  Node whole;  // with the scope
  KindSet left_out = 0;
};
[[nodiscard]] tl::expected<ScopedQuery, Answer> ScopedQueryOf(const ReadRequest& request);

}  // namespace stele::query
