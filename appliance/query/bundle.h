// One evidence bundle being written from the store, in slices, so that one of any size costs bounded memory
// (appliance/evidence has the format). Prepare() decides what goes in and gathers everything before the records; the access
// entry is written then; Next() gives the archive piece by piece, on whatever worker thread, each with its own reader.
#pragma once

#include <memory>
#include <optional>

#include "appliance/anchor/entries.h"
#include "appliance/evidence/bundle_writer.h"
#include "appliance/query/parameters.h"
#include "appliance/query/reads.h"

namespace stele::query {

inline constexpr std::size_t kBundleRunsMax = 1'000'000;     // stretches of neighbouring records
inline constexpr std::size_t kBundleNamedRecordsMax = 1'000;
inline constexpr std::uint64_t kFullLogEventsDefault = 4'096;  // checkpoints of this boot, before the log begins at the last anchor
inline constexpr std::uint64_t kFullLogEventsMax = 65'536;
inline constexpr std::uint64_t kAnchorsCarriedMax = 1'024;
inline constexpr std::int64_t kBundleTimeBoxNs = 45'000'000'000;
inline constexpr std::size_t kBundlePieceBytes = 1 << 20;

class Bundle {
 public:
  explicit Bundle(bool payloads, std::int64_t created_ns) : writer_(created_ns), chunk_(payloads) {}

  // The next bytes of the archive: at least one unless it is done(). An error: the store cannot be read there.
  [[nodiscard]] Result<Bytes> Next(store::LogReader& reader, const std::atomic<bool>& cancelled);
  [[nodiscard]] bool done() const { return done_ && ready_.empty(); }

 private:
  friend class BundlePreparer;
  Result<void> AddRecord(store::LogReader& reader, std::uint64_t sequence);
  Result<std::vector<Hash>> Gap(store::LogReader& reader, std::uint64_t to) const;
  [[nodiscard]] Bytes TakePiece();

  evidence::BundleWriter writer_;
  evidence::ChunkWriter chunk_;
  std::uint64_t size_ = 0;             // of the checkpoint
  std::vector<std::uint64_t> marks_;
  std::vector<Span> runs_;             // what goes in, ascending
  std::size_t run_ = 0;
  std::uint64_t next_ = 0;             // in the run
  std::uint64_t end_ = 0;              // behind the last record written
  Bytes ready_;                        // archive bytes not handed out yet
  std::size_t handed_out_ = 0;         // of ready_
  bool done_ = false;
};

// Works out one bundle; lives on a worker thread during one call.
class BundlePreparer {
 public:
  BundlePreparer(store::LogReader& reader, Scanner& scanner, Clock& clock, const ReadsConfig& config, const ReadRequest& request,
                 const std::atomic<bool>& cancelled);
  // The answer (status 200, no body) says what the access entry needs. Another status: a refusal.
  [[nodiscard]] Answer Prepare(std::shared_ptr<Bundle>& out);

 private:
  std::optional<Answer> ReadParameters();
  std::optional<Answer> SelectRange(const std::string& text);
  std::optional<Answer> SelectRecords(const std::string& text);
  std::optional<Answer> SelectQuery();
  std::optional<Answer> Scan(const Matcher& matcher, const ScanRange& range);
  void Select(std::uint64_t sequence);
  Result<void> Gather();
  Result<void> FindCheckpoint();
  Result<void> GatherAnchors();
  Result<void> GatherEvents();
  Result<void> GatherProofs();
  void TakeCosigned();
  Result<std::string> NoteOfAnchor(const anchor::ReceiptEntry& receipt, std::uint64_t receipt_sequence);

  store::LogReader& reader_;
  Scanner& scanner_;
  Clock& clock_;
  const ReadsConfig& config_;
  const ReadRequest& request_;
  const std::atomic<bool>& cancelled_;

  evidence::BundleHead head_;
  std::uint64_t size_ = 0;
  std::uint64_t checkpoint_sequence_ = 0;
  std::vector<Span> runs_;
  std::vector<std::uint64_t> marks_;
  std::uint64_t records_ = 0;
  bool full_log_ = false;
  std::string from_ns_;
  std::string to_ns_;
};

}  // namespace stele::query
