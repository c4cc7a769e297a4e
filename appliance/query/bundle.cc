#include "appliance/query/bundle.h"

#include <algorithm>

#include "appliance/base/limits.h"
#include "appliance/evidence/tree_walk.h"
#include "appliance/query/verify_page.h"
#include "firmware/measure/event_log.h"

namespace stele::query {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 53U) - 1;

std::vector<std::string_view> SplitAtCommas(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// What of a checkpoint entry's payload the bundle needs; the verifier is who judges it.
struct IntentView {
  std::string note;
  Hash digest{};
  Hash pcr_before{};
  std::uint64_t number = 0;
};
std::optional<IntentView> IntentOf(ByteView payload) {
  const Json object = Json::parse(AsText(payload), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return std::nullopt;
  const auto text = [&object](const char* name) {
    const auto at = object.find(name);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string{};
  };
  const auto digest = ParseHash(text("digest"));
  const auto before = ParseHash(text("pcr_before"));
  const auto number = object.find("number");
  if (!digest || !before || number == object.end() || !number->is_number_unsigned()) return std::nullopt;
  return IntentView{text("note"), *digest, *before, number->get<std::uint64_t>()};
}

tl::unexpected<Error> Unreadable(std::string what) { return Fail(Code::kUnavailable, std::move(what) + " cannot be read"); }

}  // namespace

Bytes Bundle::TakePiece() {
  const std::size_t part = std::min(kBundlePieceBytes, ready_.size() - handed_out_);
  const auto begin = ready_.begin() + static_cast<std::ptrdiff_t>(handed_out_);
  Bytes piece(begin, begin + static_cast<std::ptrdiff_t>(part));
  handed_out_ += part;
  if (handed_out_ == ready_.size()) {
    ready_.clear();
    handed_out_ = 0;
  }
  return piece;
}

Result<std::vector<Hash>> Bundle::Gap(store::LogReader& reader, std::uint64_t to) const {
  std::vector<Hash> hashes;
  for (const evidence::GapPart& part : evidence::CutGap(end_, to, marks_)) {
    STELE_TRY(const auto more, reader.RangeHashes(part.begin, part.end));
    hashes.insert(hashes.end(), more.begin(), more.end());
  }
  return hashes;
}

Result<void> Bundle::AddRecord(store::LogReader& reader, std::uint64_t sequence) {
  STELE_TRY(const ledger::KeptEntry record, reader.WholeEntryOf(sequence));
  if (!chunk_.HasRoom(record.payload.size())) chunk_.Take(writer_, ready_);
  STELE_TRY(const auto gap, Gap(reader, sequence));
  chunk_.Add(record.entry, record.salt, record.peer, record.payload, gap);
  end_ = sequence + 1;
  return {};
}

Result<Bytes> Bundle::Next(store::LogReader& reader, const std::atomic<bool>& cancelled) {
  while (ready_.size() - handed_out_ < kBundlePieceBytes && !done_) {
    if (cancelled.load()) return Fail(Code::kUnavailable, "cancelled");
    if (run_ < runs_.size()) {
      STELE_TRY_VOID(AddRecord(reader, std::max(next_, runs_[run_].first)));
      next_ = end_;
      if (next_ == runs_[run_].end) ++run_;
      continue;
    }
    if (!chunk_.empty()) chunk_.Take(writer_, ready_);
    STELE_TRY(const auto gap, Gap(reader, size_));
    evidence::WriteEndTree(gap, writer_, ready_);
    if (!VerifyPage().empty()) writer_.Add({evidence::Part::kVerifyPage}, AsBytes(VerifyPage()), ready_);
    writer_.Finish(ready_);
    done_ = true;
  }
  return TakePiece();
}

BundlePreparer::BundlePreparer(store::LogReader& reader, Scanner& scanner, Clock& clock, const ReadsConfig& config,
                               const ReadRequest& request, const std::atomic<bool>& cancelled)
    : reader_(reader), scanner_(scanner), clock_(clock), config_(config), request_(request), cancelled_(cancelled) {}

void BundlePreparer::Select(std::uint64_t sequence) {
  ++records_;
  if (!runs_.empty() && runs_.back().end == sequence) {
    ++runs_.back().end;
  } else {
    runs_.push_back({sequence, sequence + 1});
  }
}

std::optional<Answer> BundlePreparer::Scan(const Matcher& matcher, const ScanRange& range) {
  const ScanLimits scan_limits{clock_.BoottimeNs() + kBundleTimeBoxNs, &cancelled_};
  const auto outcome = scanner_.Scan(range, Order::kOldestFirst, matcher, scan_limits, [this](RecordFields& fields) -> Result<bool> {
    if (fields.record().sequence > 0) Select(fields.record().sequence);
    return runs_.size() <= kBundleRunsMax;
  });
  if (!outcome) return Refusal(503, "unavailable", Describe(outcome.error()));
  if (!outcome->unreadable.empty()) return Refusal(503, "unavailable", "the store is damaged there: see stele verify");
  if (outcome->ended != Ended::kDone) return Refusal(400, "bad_request", "too much for one bundle: narrow the query or the time");
  return std::nullopt;
}

// A..B, both inclusive; A.. is to the checkpoint's end.
std::optional<Answer> BundlePreparer::SelectRange(const std::string& text) {
  const std::size_t dots = text.find("..");
  const auto first = ParseUnsigned(std::string_view(text).substr(0, dots), kSequenceMax);
  const bool open = dots != std::string::npos && dots + 2 == text.size();
  const auto last = dots == std::string::npos || open ? std::nullopt : ParseUnsigned(std::string_view(text).substr(dots + 2), kSequenceMax);
  if (dots == std::string::npos || !first || (!open && !last) || (last && *last < *first)) {
    return Refusal(400, "bad_request", "range is FIRST..LAST, both sequence numbers, or FIRST..");
  }
  const std::uint64_t end = std::min(size_, open ? size_ : *last + 1);
  if (*first >= end || (!open && *last >= size_)) {
    return Refusal(404, "not_found", "the range ends above the checkpoint of " + std::to_string(size_) + " entries");
  }
  head_.info.selection_kind = "range";
  head_.info.selection_text = std::to_string(*first) + ".." + std::to_string(end - 1);
  if (request_.scope.must.kind != Node::Kind::kAll) return Scan(Matcher(request_.scope.must), ScanRange{*first, end});
  const std::uint64_t begin = std::max<std::uint64_t>(*first, 1);  // entry 0 is in every bundle
  if (begin == end) return std::nullopt;
  if (reader_.HasExpired(begin, end)) return Refusal(404, "expired", "some of these records have expired");
  records_ += end - begin;
  if (runs_.back().end == begin) {
    runs_.back().end = end;
  } else {
    runs_.push_back({begin, end});
  }
  return std::nullopt;
}

std::optional<Answer> BundlePreparer::SelectRecords(const std::string& text) {
  std::vector<std::uint64_t> sequences;
  for (const std::string_view part : SplitAtCommas(text)) {
    const auto sequence = ParseUnsigned(part, kSequenceMax);
    if (!sequence || sequences.size() >= kBundleNamedRecordsMax) {
      return Refusal(400, "bad_request", "record is a list of at most 1000 sequence numbers");
    }
    sequences.push_back(*sequence);
  }
  std::sort(sequences.begin(), sequences.end());
  sequences.erase(std::unique(sequences.begin(), sequences.end()), sequences.end());
  const Matcher in_scope(request_.scope.must);
  for (const std::uint64_t sequence : sequences) {
    const auto one = sequence < size_ ? scanner_.RecordAt(sequence) : Fail(Code::kNotFound, "above the checkpoint");
    if (one) {
      RecordFields fields(one->record, scanner_.sources(), scanner_.scratch());
      if (in_scope.Matches(fields)) {
        if (sequence > 0) Select(sequence);
        continue;
      }
    }
    if (reader_.HasExpired(sequence, sequence + 1)) return Refusal(404, "expired", "record " + std::to_string(sequence) + " has expired");
    return Refusal(404, "not_found", "there is no record " + std::to_string(sequence));
  }
  head_.info.selection_kind = "records";
  head_.info.selection_text = text;
  return std::nullopt;
}

std::optional<Answer> BundlePreparer::SelectQuery() {
  auto scoped = ScopedQueryOf(request_);
  if (!scoped) return std::move(scoped.error());
  Parameters parameters(request_.parameters);
  ScanRange range{0, size_};
  if (const auto from = parameters.Time("from")) {
    range.from_ns = *from;
    from_ns_ = std::to_string(*from);
  }
  if (const auto to = parameters.Time("to")) {
    range.to_ns = *to;
    to_ns_ = std::to_string(*to);
  }
  if (parameters.problem()) return *parameters.problem();
  head_.info.selection_kind = "query";
  head_.info.selection_text = Print(scoped->query);
  return Scan(Matcher(scoped->whole, scoped->left_out), range);
}

std::optional<Answer> BundlePreparer::ReadParameters() {
  Parameters parameters(request_.parameters);
  head_.info.payloads = parameters.Number("payloads", 1).value_or(1) == 1;
  full_log_ = parameters.Number("full_log", 1).value_or(0) == 1;
  const std::string range = parameters.Text("range");
  const std::string records = parameters.Text("record");
  const std::string since = parameters.Text("since");
  if (parameters.problem()) return *parameters.problem();
  for (const std::string_view part : SplitAtCommas(since)) {
    const auto mark = ParseUnsigned(part, kSequenceMax);
    if (!mark || marks_.size() >= evidence::kAnchorNotesMax) return Refusal(400, "bad_request", "since is a list of at most 64 sizes");
    if (*mark > 0 && *mark <= size_) marks_.push_back(*mark);
  }
  const bool query = request_.parameters.contains("q");
  if ((range.empty() ? 0 : 1) + (records.empty() ? 0 : 1) + (query ? 1 : 0) != 1) {
    return Refusal(400, "bad_request", "one of range, record and q is needed");
  }
  Select(0);
  if (!range.empty()) return SelectRange(range);
  return query ? SelectQuery() : SelectRecords(records);
}

// The entry of the quoted checkpoint: everything of the P-chain lies at and below it.
Result<void> BundlePreparer::FindCheckpoint() {
  std::uint64_t before = reader_.size();
  for (;;) {
    const auto landmark = reader_.LastOfKind(record::Kind::kCheckpoint, before);
    if (!landmark) return Unreadable("the quoted checkpoint");
    const auto intent = IntentOf(landmark->payload);
    if (intent && intent->digest == head_.audit.digest) {
      checkpoint_sequence_ = landmark->sequence;
      return {};
    }
    before = landmark->sequence;
  }
}

// An anchor's checkpoint entry lies before its receipt and carries its digest.
Result<std::string> BundlePreparer::NoteOfAnchor(const anchor::ReceiptEntry& receipt, std::uint64_t receipt_sequence) {
  for (std::uint64_t before = receipt_sequence;;) {
    const auto landmark = reader_.LastOfKind(record::Kind::kCheckpoint, before);
    auto intent = landmark ? IntentOf(landmark->payload) : std::nullopt;
    if (intent && intent->digest == receipt.digest) return std::move(intent->note);
    if (!landmark || landmark->sequence < receipt.size) return Unreadable("the checkpoint of anchor " + std::to_string(receipt.number));
    before = landmark->sequence;
  }
}

Result<void> BundlePreparer::GatherAnchors() {
  std::uint64_t before = reader_.size();
  std::uint64_t expected = head_.audit.anchor;
  for (std::uint64_t carried = 0; expected > 0; ++carried) {
    const auto landmark = reader_.LastOfKind(record::Kind::kAnchor, before);
    if (!landmark) return Unreadable("the receipt of anchor " + std::to_string(expected));
    before = landmark->sequence;
    std::string payload(AsText(landmark->payload));
    STELE_TRY(const auto receipt, anchor::DecodeReceipt(payload));
    if (receipt.number > expected) continue;  // newer than the quote
    if (receipt.number < expected) return Unreadable("the receipt of anchor " + std::to_string(expected));
    if (carried == kAnchorsCarriedMax) {
      head_.receipt_before = std::move(payload);
      break;
    }
    evidence::AnchorEvent event{receipt.number, receipt.digest, std::nullopt};
    if (carried < evidence::kAnchorNotesMax) {
      STELE_TRY(event.note, NoteOfAnchor(receipt, landmark->sequence));
      marks_.push_back(receipt.size);
    }
    if (carried == 0) head_.receipt = std::move(payload);
    head_.anchors.push_back(std::move(event));
    --expected;
  }
  std::reverse(head_.anchors.begin(), head_.anchors.end());
  head_.info.anchors_first = head_.anchors.empty() ? 0 : head_.anchors.front().number;
  head_.info.anchors_count = head_.anchors.size();
  return {};
}

// Backwards from the quoted checkpoint: to the first of this boot where that is not far, else to the last anchor's quote.
Result<void> BundlePreparer::GatherEvents() {
  std::optional<Hash> anchored_pcr;
  if (head_.receipt) {
    STELE_TRY(const auto receipt, anchor::DecodeReceipt(*head_.receipt));
    const bool same_boot = receipt.reset_count == head_.audit.reset_count && receipt.restart_count == head_.audit.restart_count;
    if (same_boot && !receipt.late) anchored_pcr = receipt.pcr;
  }
  std::uint64_t before = checkpoint_sequence_ + 1;
  for (bool first = true;; first = false) {
    const auto landmark = reader_.LastOfKind(record::Kind::kCheckpoint, before);
    if (!landmark) return Unreadable("a checkpoint of this boot");
    before = landmark->sequence;
    auto intent = IntentOf(landmark->payload);
    if (!intent) return Unreadable("a checkpoint of this boot");
    if (first) {
      const std::uint64_t limit = full_log_ ? kFullLogEventsMax : kFullLogEventsDefault;
      head_.info.pcr_from_baseline = !anchored_pcr || intent->number <= limit;
      if (head_.info.pcr_from_baseline && intent->number > kFullLogEventsMax) {
        return Fail(Code::kUnavailable, "too many checkpoints since the boot and no anchor to begin at");
      }
      // The anchored checkpoint itself is quoted: the register already holds it.
      if (!head_.info.pcr_from_baseline && anchor::Extended(intent->pcr_before, intent->digest) == *anchored_pcr) break;
    }
    const bool last = head_.info.pcr_from_baseline ? intent->number == 1 : intent->pcr_before == *anchored_pcr;
    head_.events.push_back({intent->digest, std::move(intent->note)});
    if (last) break;
  }
  std::reverse(head_.events.begin(), head_.events.end());
  head_.info.pcr_events = head_.events.size();
  return {};
}

// A tlog-proof for each record of a small selection, else for the last one: the chain leads from it to its neighbours.
Result<void> BundlePreparer::GatherProofs() {
  std::vector<std::uint64_t> proven;
  if (records_ - 1 <= evidence::kProofsMax) {
    for (const Span& run : runs_) {
      for (std::uint64_t sequence = std::max<std::uint64_t>(1, run.first); sequence < run.end; ++sequence) proven.push_back(sequence);
    }
  } else {
    proven.push_back(runs_.back().end - 1);
  }
  for (const std::uint64_t sequence : proven) {
    STELE_TRY(auto proof, reader_.InclusionProof(sequence, size_));
    head_.proofs.emplace_back(sequence, std::move(proof));
  }
  return {};
}

// What the witnesses cosigned last, where it is a smaller tree than the quoted one: the walk over the records proves that it is
// a beginning of it.
void BundlePreparer::TakeCosigned() {
  const auto key = ledger::ParseVkey(config_.vkey);
  const auto opened = key ? ledger::OpenCheckpoint(request_.cosigned_note, *key) : tl::unexpected(key.error());
  if (!opened || opened->checkpoint.size == 0 || opened->checkpoint.size > size_) return;
  head_.cosigned_note = request_.cosigned_note;
  head_.witness_policy = config_.witness_policy;
  marks_.push_back(opened->checkpoint.size);
}

Result<void> BundlePreparer::Gather() {
  STELE_TRY(head_.record, anchor::DecodeSignedRecord(config_.provisioning_json));
  head_.epochs = config_.epochs;
  head_.vkey = config_.vkey;
  STELE_TRY(const auto record, anchor::DecodeRecord((head_.epochs.empty() ? head_.record : head_.epochs.back()).record));
  for (const anchor::SignedRecord& one : head_.epochs) {
    STELE_TRY(const auto epoch, anchor::DecodeRecord(one.record));
    if (epoch.epoch && epoch.epoch->log_size <= size_) marks_.push_back(epoch.epoch->log_size);
  }
  // A software TPM knows nothing of the firmware; a log of the old form has no digests to replay.
  if (!record.software_tpm && measure::ReplayLog(config_.boot_log, measure::kAlgSha256)) head_.boot_log = config_.boot_log;
  if (!record.ek_certificate.empty()) head_.ek_chain_pem = config_.ek_chain_pem;
  head_.verify_page = !VerifyPage().empty();
  TakeCosigned();
  STELE_TRY_VOID(FindCheckpoint());
  STELE_TRY_VOID(GatherAnchors());
  STELE_TRY_VOID(GatherEvents());
  STELE_TRY_VOID(GatherProofs());
  std::sort(marks_.begin(), marks_.end());
  marks_.erase(std::unique(marks_.begin(), marks_.end()), marks_.end());
  evidence::BundleInfo& info = head_.info;
  info.log_id = head_.audit.log_id;
  info.origin = head_.audit.origin;
  info.nonce = head_.audit.nonce;
  info.created_ns = clock_.WallNs();
  info.software = "stele " STELE_VERSION;
  info.scope_limited = request_.scope.must.kind != Node::Kind::kAll;
  info.records = records_;
  info.log_size = reader_.size();
  info.marks = marks_;
  info.pcr = head_.audit.pcr;
  return {};
}

Answer BundlePreparer::Prepare(std::shared_ptr<Bundle>& out) {
  auto audit = anchor::DecodeAudit(request_.attest_json);
  if (!audit) return Refusal(503, "unavailable", audit.error().context);
  head_.audit = std::move(*audit);
  const auto note = ledger::ParseNote(head_.audit.note);
  const auto checkpoint = note ? ledger::ParseCheckpoint(note->text) : tl::unexpected(note.error());
  if (!checkpoint || checkpoint->size > reader_.size()) return Refusal(503, "unavailable", "the quoted checkpoint cannot be read yet");
  size_ = checkpoint->size;
  if (auto refused = ReadParameters()) return std::move(*refused);
  if (const auto gathered = Gather(); !gathered) return Refusal(503, "unavailable", gathered.error().context);

  auto bundle = std::make_shared<Bundle>(head_.info.payloads, head_.info.created_ns);
  if (const auto written = evidence::WriteHead(head_, bundle->writer_, bundle->ready_); !written) {
    return Refusal(503, "unavailable", written.error().context);
  }
  bundle->size_ = size_;
  bundle->marks_ = marks_;
  bundle->runs_ = std::move(runs_);
  out = std::move(bundle);
  Answer answer;
  answer.content_type = "application/x-tar";
  answer.headers["content-disposition"] = "attachment; filename=\"evidence.tar\"";
  answer.query = head_.info.selection_kind == "query" ? head_.info.selection_text : head_.info.selection_kind + " " + head_.info.selection_text;
  answer.from_ns = from_ns_;
  answer.to_ns = to_ns_;
  answer.size = size_;
  answer.rows = records_;
  return answer;
}

}  // namespace stele::query
