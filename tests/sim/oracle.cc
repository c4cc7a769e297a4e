#include "tests/sim/oracle.h"

#include <algorithm>
#include <set>

#include "appliance/store/verify.h"

namespace stele::sim {
namespace {

const std::set<std::string> kGoodVerifyWords = {"OK", "OK_UNANCHORED_TAIL", "RECOVERED_CRASH"};
const std::set<std::string> kGoodVerdicts = {"OK", "OK_UNANCHORED_TAIL", "RECOVERED_CRASH", "CANNOT_TELL"};

}  // namespace

void Oracle::Begin(const ledger::SequencedBatch& part) {
  if (part.first_sequence != size()) Complain("sequence numbers are not dense: " + std::to_string(part.first_sequence));
  std::vector<Written> records;
  std::size_t at = 0;
  for (std::size_t i = 0; i < part.batch.size(); ++i) {
    const ledger::Batch& b = part.batch;
    records.push_back({b.kinds[i], b.flags[i], b.sources[i], b.wall_ns[i], b.peers[i],
                       ToBytes(ByteView(b.payloads).subspan(at, b.lengths[i])), part.leaves[i]});
    at += b.lengths[i];
  }
  under_way_.push_back(std::move(records));
}

void Oracle::Committed() {
  records_.insert(records_.end(), under_way_.back().begin(), under_way_.back().end());
  under_way_.clear();
}

Hash Oracle::RootOf(std::uint64_t size) const {
  ledger::CompactRange tree;
  for (std::uint64_t i = 0; i < size; ++i) tree.Push(records_[i].leaf);
  return tree.Root();
}

void Oracle::Signed(std::uint64_t size) { signed_.push_back({size, RootOf(size)}); }
void Oracle::ReceiptDurable(std::string payload) { receipts_.push_back(std::move(payload)); }

void Oracle::Recovered(const store::Tail& tail) {
  if (tail.damaged) Complain("a crash was taken for damage: " + tail.detail);
  if (tail.quarantined_records > 0) Complain("own records were quarantined: " + tail.detail);
  if (tail.fresh) {
    if (!records_.empty()) Complain("every committed record is gone");
    under_way_.clear();
    return;
  }
  if (tail.size() == size()) {
    if (!records_.empty() && tail.head() != records_.back().leaf) Complain("the head is another than that of the committed records");
  } else {
    const auto fits = [&](const std::vector<Written>& part) {
      return tail.size() == size() + part.size() && tail.head() == part.back().leaf;
    };
    const auto part = std::find_if(under_way_.begin(), under_way_.end(), fits);
    if (part == under_way_.end()) {
      Complain("recovery found " + std::to_string(tail.size()) + " records, committed were " + std::to_string(size()));
    } else {
      records_.insert(records_.end(), part->begin(), part->end());
    }
  }
  under_way_.clear();
  for (const SignedTree& tree : signed_) {
    if (tree.size > size() || RootOf(tree.size) != tree.root) Complain("the signed tree of size " + std::to_string(tree.size) + " is contradicted");
  }
}

void Oracle::CheckDisk(DeviceShelf& shelf, const ledger::VerifyKey& key, const Hash& log_id, const char* when) {
  const std::string prefix = std::string(when) + ": ";
  store::VerifyOptions options;
  options.checkpoint_key = key;
  options.log_id = log_id;
  std::vector<std::string> receipts;
  options.on_entry = [&](record::Kind kind, std::uint64_t, ByteView payload) {
    if (kind == record::Kind::kAnchor) receipts.emplace_back(AsText(payload));
  };
  const auto report = store::VerifyStore(shelf, options);
  if (!report) return Complain(prefix + "verify: " + report.error().context);
  const bool nothing_yet = report->word == "CANNOT_TELL" && records_.empty();
  if (kGoodVerifyWords.count(report->word) == 0 && !nothing_yet) Complain(prefix + "verify says " + report->word + ": " + report->detail);
  if (report->records != size()) {
    Complain(prefix + "verify counts " + std::to_string(report->records) + " of " + std::to_string(size()) + " records");
  } else if (report->root != RootOf(size())) {
    Complain(prefix + "verify finds another root");
  }
  for (const std::string& payload : receipts_) {
    if (std::find(receipts.begin(), receipts.end(), payload) == receipts.end()) Complain(prefix + "a durable receipt is gone");
  }
  if (records_.empty()) return;
  const auto reader = store::LogReader::Open(shelf, size());  // as the ledger announces it: a torn tail lies beyond
  if (!reader) return Complain(prefix + "reader: " + reader.error().context);
  CheckReader(**reader, when);
}

void Oracle::CheckReader(store::LogReader& reader, const std::string& when) {
  const std::string prefix = when + ": ";
  if (reader.size() != size()) {
    return Complain(prefix + "the reader reads " + std::to_string(reader.size()) + " of " + std::to_string(size()) + " records: " + reader.damage());
  }
  for (std::size_t b = 0; b < reader.block_count(); ++b) {
    const auto block = reader.Block(b);
    if (!block) return Complain(prefix + "reader: " + block.error().context);
    for (std::size_t i = 0; i < (*block)->header.record_count; ++i) {
      const store::StoredRecord got = store::LogReader::RecordAt(**block, i);
      const Written& w = records_[got.sequence];
      const bool same = static_cast<std::uint8_t>(got.kind) == w.kind && got.flags == w.flags && got.source == w.source &&
                        got.receive_wall_ns == w.wall_ns && got.peer == w.peer && SameBytes(got.payload, w.payload);
      if (!same) return Complain(prefix + "record " + std::to_string(got.sequence) + " is not what was written");
    }
  }
}

void Oracle::CheckRegisters(DeviceShelf& shelf, Tpm& tpm, const anchor::Pins& pins) {
  Hash index = pins.index_start;
  std::uint64_t number = 0;
  store::VerifyOptions options;
  options.on_entry = [&](record::Kind kind, std::uint64_t, ByteView payload) {
    if (kind != record::Kind::kAnchor) return;
    const auto receipt = anchor::DecodeReceipt(AsText(payload));
    if (!receipt) return Complain("a receipt in the log does not decode");
    index = anchor::Extended(index, receipt->digest);
    if (receipt->number != ++number) Complain("receipt " + std::to_string(receipt->number) + " stands at place " + std::to_string(number));
    if (receipt->index != index) Complain("receipt " + std::to_string(number) + " has another index");
    if (!anchor::CheckReceipt(*receipt, pins.receipt)) Complain("receipt " + std::to_string(number) + " does not verify");
    if (receipt->size > size()) Complain("receipt " + std::to_string(number) + " is of a larger log");
  };
  (void)store::VerifyStore(shelf, options);
  const auto index_now = tpm.ReadIndex();
  const auto counter_now = tpm.ReadCounter();
  if (!index_now || *index_now != index) Complain("the NV index is not the chain of the receipts");
  if (!counter_now || *counter_now != pins.receipt.counter_start + number) Complain("the counter does not count the receipts");
}

void Oracle::CheckVerdict(const std::string& word, const std::string& detail) {
  if (kGoodVerdicts.count(word) == 0) Complain("a crash alone gave the verdict " + word + ": " + detail);
}

}  // namespace stele::sim
