// What stele-receive took, stored and lost, per listener, in a page that outlives it: memory the supervisor made and
// holds (docs/processes.md, channel "accounts"), mapped again by each new receiver. The listeners' sockets are held the
// same way, so with the page  reached the socket = stored + counted lost + still in the socket  holds across a
// receiver's death.
//
// Every change is one atomic store, or is made so that a death between two of them is recognised and finished:
//   - a batch from a socket: `batch_base` names the value of `taken` it began with; while the two are equal, the
//   kernel's own
//     marks in `batch` say how many datagrams it had taken;
//   - loss entries under way: `snapshot` per cause, valid while `loss_frame` is not 0; whether that frame was committed
//   the
//     ledger says (kSettled);
//   - what the ledger committed: `stored_base` plus its own count, valid while `ledger_epoch` is that of the ledger
//   asked.
//
// Thread safety: one process writes, one thread. The supervisor only makes it.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "appliance/base/fd.h"
#include "appliance/base/limits.h"
#include "appliance/base/result.h"

namespace stele::receive {

// Why something was lost. The order is that of the page.
enum class Cause : std::uint8_t {
  kKernelDrop,           // the socket's buffer was full: counted by the kernel, never taken
  kStoreFull,            // refused by the ledger
  kQuota,                // above the source's quota
  kOverload,             // above the source's share while the channel was full
  kReceiverDied,         // taken by a receiver that died before it was committed
  kReceiverDiedUnknown,  // the same, when the ledger that would know is gone too: at most so many
  kConnectionsCut,       // open connections of a receiver that died: what they held is not known; counts connections
  kRefusedSource,        // of a source whose messages are not taken; its entries are the gate's (receive_gate.h)
  kApplianceDied,        // the supervisor died, and the socket with it: not known
};
inline constexpr std::size_t kCauses = 9;
[[nodiscard]] bool CountKnown(Cause cause);

// One listener's row.
struct Account {
  struct Loss {
    std::atomic<std::uint64_t> counted;   // ever
    std::atomic<std::uint64_t> recorded;  // of them in committed loss entries
    std::atomic<std::uint64_t> snapshot;  // `counted` when the entry under way was made
    std::atomic<std::int64_t> from_ns;    // of what is not recorded
    std::atomic<std::int64_t> to_ns;
  };
  static constexpr std::size_t kNameBytes = 64;
  static constexpr std::size_t kBatch = 64;                      // datagrams a call
  static constexpr std::uint32_t kNotTaken = ~std::uint32_t{0};  // in batch[i].msg_len

  std::array<char, kNameBytes> name;        // empty: a free row
  std::atomic<std::uint64_t> taken;         // records off the socket that nobody waits for
  std::atomic<std::uint64_t> stored;        // of them committed
  std::atomic<std::uint64_t> stored_base;   // stored - the ledger's own count, modulo 2^64
  std::atomic<std::uint64_t> waited_taken;  // records whose sender waits for an answer: never lost unseen
  std::atomic<std::uint64_t> waited_stored;
  std::atomic<std::uint64_t> connections;  // open now
  std::array<Loss, kCauses> losses;
  std::atomic<std::uint64_t> batch_base;
  std::array<mmsghdr, kBatch> batch;  // the kernel writes msg_len as it takes each datagram

  [[nodiscard]] Loss& Of(Cause cause) { return losses[static_cast<std::size_t>(cause)]; }
  [[nodiscard]] const Loss& Of(Cause cause) const { return losses[static_cast<std::size_t>(cause)]; }

  void Lose(Cause cause, std::uint64_t count, std::int64_t now_ns) { Lose(cause, count, now_ns, now_ns); }
  void Lose(Cause cause, std::uint64_t count, std::int64_t from_ns, std::int64_t to_ns);
  // Around recvmmsg() into `batch`. Done() is the commit point: the datagrams are taken.
  void BeginBatch();
  void EndBatch(std::uint64_t count);

  [[nodiscard]] std::uint64_t LostKnown() const;      // all causes whose count is known
  [[nodiscard]] std::uint64_t LostOfTaken() const;    // what was taken and will not be stored
  [[nodiscard]] std::uint64_t UnknownLosses() const;  // occasions on which something uncounted may be lost
};

struct AccountsPage {
  static constexpr std::uint64_t kMagic = 0x31544343414c5453;  // "STLACCT1"
  static constexpr std::size_t kRows = limits::kZoneListeners;
  std::uint64_t magic;
  std::int64_t
      appliance_died_since_ns;  // not 0: the run before this one did not end; something may have been lost since then
  std::atomic<std::uint64_t> next_frame;    // frames are numbered on through all receivers
  std::atomic<std::uint64_t> ledger_epoch;  // of the ledger that `stored_base` refers to; 0: none
  std::atomic<std::uint64_t> loss_frame;    // 0: none under way
  std::atomic<std::int64_t> alive_ns;       // the receiver was seen then
  std::array<Account, kRows> rows;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// The page for a new family. `died_since_ns`: 0, or since when the run before this one may have lost what nobody
// counted.
[[nodiscard]] Result<UniqueFd> MakeAccountsPage(std::int64_t died_since_ns);

// The page as a receiver holds it.
class Accounts {
 public:
  Accounts();  // a private page, until one is given
  [[nodiscard]] Result<void> Map(const UniqueFd& page);

  // The row of this listener, a fresh one the first time. kInvalid: more listeners than rows.
  [[nodiscard]] Result<Account*> RowOf(std::string_view name, std::int64_t now_ns);

  // What the dead receiver before this one left: finishes its batches, notes its connections. Once, before anything is
  // read.
  void Inherit(std::int64_t now_ns);

  // The ledger's answer (kSettled): its epoch, whether the loss frame is in the log, and its count of committed records
  // per listener on channels that ended. Settles what a dead receiver had under way, and what this one had with another
  // ledger.
  void Settle(std::uint64_t epoch, bool loss_frame_committed, const std::map<std::string, std::uint64_t>& committed,
              std::int64_t now_ns);

  void Alive(std::int64_t now_ns) { page_->alive_ns = now_ns; }
  [[nodiscard]] std::uint64_t NextFrame() { return page_->next_frame.fetch_add(1) + 1; }
  [[nodiscard]] std::uint64_t loss_frame() const { return page_->loss_frame; }
  void BeginLossFrame(std::uint64_t frame) { page_->loss_frame = frame; }  // after the snapshots
  void EndLossFrame(bool committed);
  [[nodiscard]] std::array<Account, AccountsPage::kRows>& rows() { return page_->rows; }

 private:
  struct Unmap {
    void operator()(AccountsPage* page) const;
  };
  std::unique_ptr<AccountsPage, Unmap> page_;
  bool inherited_ = false;  // a dead receiver's records are not settled yet
  std::uint64_t inherited_loss_frame_ = 0;  // 0: none was under way
  std::int64_t died_after_ns_ = 0;
  std::array<std::uint64_t, AccountsPage::kRows>
      inherited_kept_{};  // taken and not lost when it died: committed, or lost with it
};

}  // namespace stele::receive
