#include "appliance/daemons/receive_accounts.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>

#include "appliance/base/bytes.h"

namespace stele::receive {
namespace {

// What was taken and lost on the way to the ledger; the others never were taken.
constexpr std::array kOfTaken{Cause::kStoreFull, Cause::kQuota, Cause::kOverload, Cause::kReceiverDied,
                              Cause::kReceiverDiedUnknown, Cause::kRefusedSource};

}  // namespace

bool CountKnown(Cause cause) {
  return cause != Cause::kReceiverDiedUnknown && cause != Cause::kConnectionsCut && cause != Cause::kApplianceDied;
}

void Account::Lose(Cause cause, std::uint64_t count, std::int64_t from_ns, std::int64_t to_ns) {
  Loss& loss = Of(cause);
  const std::uint64_t before = loss.counted;
  if (before == loss.recorded) loss.from_ns = from_ns;
  loss.to_ns = to_ns;
  loss.counted = before + count;
}

void Account::BeginBatch() {
  for (mmsghdr& message : batch) message.msg_len = kNotTaken;
  batch_base = taken.load();
}

void Account::EndBatch(std::uint64_t count) {
  if (count > 0) taken = batch_base + count;
}

std::uint64_t Account::LostKnown() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kCauses; ++i) {
    if (CountKnown(static_cast<Cause>(i))) sum += losses[i].counted;
  }
  return sum;
}

std::uint64_t Account::LostOfTaken() const {
  std::uint64_t sum = 0;
  for (const Cause cause : kOfTaken) sum += Of(cause).counted;
  return sum;
}

std::uint64_t Account::UnknownLosses() const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kCauses; ++i) {
    if (!CountKnown(static_cast<Cause>(i))) sum += losses[i].counted > 0 ? 1U : 0U;
  }
  return sum;
}

Result<UniqueFd> MakeAccountsPage(std::int64_t died_since_ns) {
  UniqueFd fd(::memfd_create("stele-accounts", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return FailErrno("make the page of accounts");
  if (::ftruncate(fd.get(), sizeof(AccountsPage)) != 0) return FailErrno("size the page of accounts");
  // Nobody who holds it can cut it under another's mapping.
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return FailErrno("seal the page of accounts");
  std::array<std::byte, sizeof AccountsPage::magic + sizeof AccountsPage::appliance_died_since_ns> head;
  static_assert(offsetof(AccountsPage, appliance_died_since_ns) == sizeof AccountsPage::magic);
  StoreLittle(head.data(), AccountsPage::kMagic);
  StoreLittle(head.data() + sizeof AccountsPage::magic, died_since_ns);
  if (::pwrite(fd.get(), head.data(), head.size(), 0) != static_cast<ssize_t>(head.size()))
    return FailErrno("begin the page of accounts");
  return fd;
}

void Accounts::Unmap::operator()(AccountsPage* page) const { (void)::munmap(page, sizeof(AccountsPage)); }

Accounts::Accounts() {
  void* const memory =
      ::mmap(nullptr, sizeof(AccountsPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  STELE_CHECK(memory != MAP_FAILED);
  page_.reset(static_cast<AccountsPage*>(memory));  // all zero is a fresh page
}

Result<void> Accounts::Map(const UniqueFd& page) {
  void* const memory = ::mmap(nullptr, sizeof(AccountsPage), PROT_READ | PROT_WRITE, MAP_SHARED, page.get(), 0);
  if (memory == MAP_FAILED) return FailErrno("map the page of accounts");
  std::unique_ptr<AccountsPage, Unmap> mapped(static_cast<AccountsPage*>(memory));
  if (mapped->magic != AccountsPage::kMagic)
    return Fail(Code::kInvalid, "the page of accounts: not one of this version");
  page_ = std::move(mapped);
  return {};
}

Result<Account*> Accounts::RowOf(std::string_view name, std::int64_t now_ns) {
  if (name.empty() || name.size() >= Account::kNameBytes)
    return Fail(Code::kInvalid, "a listener's name of an impossible length");
  for (Account& row : page_->rows) {
    if (row.name[0] != '\0' && name == row.name.data()) return &row;
    if (row.name[0] != '\0') continue;
    if (page_->appliance_died_since_ns != 0) {
      row.Lose(Cause::kApplianceDied, 1, page_->appliance_died_since_ns, now_ns);
    }
    row.batch_base = ~std::uint64_t{0};
    std::copy(name.begin() + 1, name.end(), row.name.begin() + 1);
    row.name[0] = name[0];  // last: from here on the row is one
    return &row;
  }
  return Fail(Code::kInvalid, "more listeners than rows of accounts");
}

void Accounts::Inherit(std::int64_t now_ns) {
  inherited_loss_frame_ = page_->loss_frame;
  died_after_ns_ = page_->alive_ns == 0 ? now_ns : page_->alive_ns.load();
  for (std::size_t i = 0; i < page_->rows.size(); ++i) {
    Account& row = page_->rows[i];
    if (row.name[0] == '\0') continue;
    if (row.batch_base == row.taken) {
      const auto taken = std::count_if(row.batch.begin(), row.batch.end(),
                                       [](const mmsghdr& message) { return message.msg_len != Account::kNotTaken; });
      row.EndBatch(static_cast<std::uint64_t>(taken));
    }
    row.batch_base = ~std::uint64_t{0};
    inherited_kept_[i] = row.taken - row.LostOfTaken();
    if (const std::uint64_t cut = row.connections.exchange(0); cut > 0)
      row.Lose(Cause::kConnectionsCut, cut, died_after_ns_, now_ns);
  }
  inherited_ = page_->next_frame != 0;
}

void Accounts::Settle(std::uint64_t epoch, bool loss_frame_committed,
                      const std::map<std::string, std::uint64_t>& committed, std::int64_t now_ns) {
  const bool same_ledger = page_->ledger_epoch == epoch;
  const auto count_of = [&](const Account& row) {
    const auto at = committed.find(row.name.data());
    return at == committed.end() ? std::uint64_t{0} : at->second;
  };
  if (inherited_) {
    // Another ledger than the frame was sent to cannot say whether it is in the log; an entry twice is better than
    // none, and its "total" shows it.
    if (page_->loss_frame == inherited_loss_frame_) EndLossFrame(same_ledger && loss_frame_committed);
    for (std::size_t i = 0; i < page_->rows.size(); ++i) {
      Account& row = page_->rows[i];
      if (row.name[0] == '\0') continue;
      if (same_ledger) row.stored = row.stored_base + count_of(row);
      // What this receiver has taken meanwhile is under way and not meant.
      if (inherited_kept_[i] <= row.stored) continue;
      row.Lose(same_ledger ? Cause::kReceiverDied : Cause::kReceiverDiedUnknown, inherited_kept_[i] - row.stored,
               died_after_ns_, now_ns);
    }
    inherited_ = false;
  }
  if (same_ledger) return;
  page_->ledger_epoch = 0;  // a death between these lines: the next receiver says "unknown"
  for (Account& row : page_->rows) row.stored_base = row.stored - count_of(row);
  page_->ledger_epoch = epoch;
}

void Accounts::EndLossFrame(bool committed) {
  if (page_->loss_frame == 0) return;
  for (Account& row : page_->rows) {
    for (Account::Loss& loss : row.losses) {
      if (committed) loss.recorded = std::max(loss.recorded.load(), loss.snapshot.load());
      loss.snapshot = 0;
    }
  }
  page_->loss_frame = 0;
}

}  // namespace stele::receive
