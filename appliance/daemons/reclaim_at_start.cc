#include "appliance/daemons/reclaim_at_start.h"

#include <algorithm>

#include "appliance/anchor/entries.h"
#include "appliance/anchor/epoch_files.h"
#include "appliance/base/system.h"

namespace stele::daemons {
namespace {

constexpr std::size_t kReclaimFileBytesMax = 16 * limits::kMiB;

// The log's key signed the checkpoint, and the TPM of its epoch the receipt for it.
// Nobody signs the receipt's UTC, so it must not be later than this start's own.
Result<store::ReclaimJudge::Anchored> CheckAnchored(const anchor::EpochChain& epochs, std::int64_t now_wall_ns,
                                                    ByteView checkpoint, ByteView receipt_payload) {
  STELE_TRY(const anchor::ReceiptEntry receipt, anchor::DecodeReceipt(AsText(receipt_payload)));
  if (receipt.epoch >= epochs.all().size()) return Fail(Code::kDenied, "a receipt of an epoch that is not known");
  const anchor::Epoch& epoch = epochs.all()[receipt.epoch];
  const auto key = anchor::CheckpointKeyOf(epoch.record, epochs.Origin());
  if (!key) return Fail(Code::kDenied, "the epoch's record names no checkpoint key");
  STELE_TRY(const anchor::IntentEntry intent, anchor::DecodeIntent(AsText(checkpoint), *key));
  STELE_TRY_VOID(anchor::CheckReceipt(receipt, anchor::PinsOf(epoch.record, epochs.log_id()).receipt));
  const bool same = intent.digest == receipt.digest && intent.size == receipt.size && intent.anchor == receipt.number &&
                    intent.epoch == receipt.epoch;
  if (!same) return Fail(Code::kDenied, "the receipt is for another checkpoint");
  if (receipt.wall_ns > now_wall_ns) return Fail(Code::kUnavailable, "the machine's clock is behind the log");
  return store::ReclaimJudge::Anchored{intent.size, intent.root, receipt.wall_ns, receipt.clock_ms, receipt.epoch};
}

// kNotFound: there are none.
Result<std::vector<store::ReclaimOrder>> ReclaimOrdersOf(const Home& home) {
  STELE_TRY(const Bytes text, ReadFile(ReclaimFile(home), kReclaimFileBytesMax));
  return store::DecodeOrders(text);
}

Result<void> KeepReclaimOrders(const Home& home, const std::vector<store::ReclaimOrder>& orders) {
  return WriteFileDurably(ReclaimFile(home), AsBytes(store::EncodeOrders(orders)), 0600);
}

}  // namespace

std::filesystem::path ReclaimFile(const Home& home) { return home.State() / "reclaim.json"; }

Result<store::Reclaimed> ReclaimAtStart(const Home& home, const Config& config, const store::Medium& medium) {
  const auto orders = ReclaimOrdersOf(home);
  if (!orders && orders.error().code == Code::kNotFound) return store::Reclaimed();
  if (!orders) return tl::unexpected(orders.error());
  STELE_TRY(const anchor::EpochChain epochs, anchor::LoadEpochs(home.State()));
  STELE_TRY(const store::OpenedShelf opened, medium.Shelf(epochs.log_id()));
  store::ReclaimJudge judge;
  judge.anchored = [&epochs, now = SystemClock().WallNs()](ByteView checkpoint, ByteView receipt) {
    return CheckAnchored(epochs, now, checkpoint, receipt);
  };
  judge.retention_s = config.retention_keep_s;
  judge.holds = config.retention_holds;
  STELE_TRY(store::Reclaimed reclaimed, store::Reclaim(*opened.shelf, epochs.log_id(), *orders, judge));
  STELE_TRY(const std::vector<std::uint32_t> there, opened.shelf->List());
  const std::vector<std::uint32_t> expired = opened.shelf->Expired();
  std::vector<store::ReclaimOrder> kept = reclaimed.waiting;
  for (store::ReclaimOrder order : *orders) {
    const bool gone = !std::binary_search(there.begin(), there.end(), order.unit) &&
                      std::binary_search(expired.begin(), expired.end(), order.unit);
    if (!gone) continue;
    order.done = true;
    kept.push_back(order);
  }
  if (const auto written = KeepReclaimOrders(home, kept); !written)
    reclaimed.refused.push_back(Describe(written.error()));
  return reclaimed;
}

ReclaimLists ListsOf(const Home& home) {
  ReclaimLists lists;
  const auto orders = ReclaimOrdersOf(home);
  if (!orders) return lists;  // none, or a file that says nothing: the ledger orders again
  for (const store::ReclaimOrder& order : *orders) (order.done ? lists.done : lists.waiting).push_back(order);
  return lists;
}

Result<void> KeepReclaimLists(const Home& home, const ReclaimLists& lists) {
  std::vector<store::ReclaimOrder> all = lists.done;
  all.insert(all.end(), lists.waiting.begin(), lists.waiting.end());
  return KeepReclaimOrders(home, all);
}

Result<void> TakeReclaimOrders(const Home& home, std::string_view orders_json, ReclaimLists& lists) {
  STELE_TRY(const std::vector<store::ReclaimOrder> orders, store::DecodeOrders(AsBytes(orders_json)));
  for (const store::ReclaimOrder& order : orders) {
    std::erase_if(lists.waiting, [&order](const store::ReclaimOrder& other) { return other.unit == order.unit; });
    lists.waiting.push_back(order);
  }
  return KeepReclaimLists(home, lists);
}

ReclaimLists ReclaimFirst(const Home& home, const Config& config,
                          const std::function<void(const std::string& line)>& say) {
  std::error_code failed;
  if (!config.unit_sockets.empty() || !std::filesystem::exists(ReclaimFile(home), failed)) return ListsOf(home);
  const auto medium = store::Medium::Open({home.Store(), config.partitions}, store::MediumUse::kAppend);
  const auto done = medium ? ReclaimAtStart(home, config, *medium) : tl::unexpected(medium.error());
  if (!done) LogWarning("nothing is reclaimed: " + Describe(done.error()));
  if (done && !done->units.empty()) say(std::to_string(done->units.size()) + " units have expired and are free again");
  for (const std::string& refused : done ? done->refused : std::vector<std::string>()) LogWarning(refused);
  return ListsOf(home);
}

}  // namespace stele::daemons
