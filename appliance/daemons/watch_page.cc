#include "appliance/daemons/watch_page.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace stele::watch {

void WatchPage::SetState(std::size_t group, const GroupState& state) {
  Group& at = groups[group];
  const std::uint64_t turn = at.turn + 1;
  at.states[turn % 2] = state;
  at.turn = turn;
}

std::uint64_t WatchPage::SumOf(std::uint64_t GroupState::*member) const {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < groups.size(); ++i) sum += StateOf(i).*member;
  return sum;
}

Result<UniqueFd> MakeWatchPage() {
  UniqueFd fd(::memfd_create("stele-guard-watch", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::uint64_t magic = WatchPage::kMagic;
  // Nobody who holds it can cut it under another's mapping.
  if (!fd.valid() || ::ftruncate(fd.get(), sizeof(WatchPage)) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
      ::pwrite(fd.get(), &magic, sizeof magic, 0) != static_cast<ssize_t>(sizeof magic)) {
    return FailErrno("make the page of dropped packets");
  }
  return fd;
}

void UnmapWatchPage::operator()(WatchPage* page) const { (void)::munmap(page, sizeof(WatchPage)); }

Result<WatchPagePtr> MapWatchPage(int fd) {
  void* const memory = ::mmap(nullptr, sizeof(WatchPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return FailErrno("map the page of dropped packets");
  WatchPagePtr page(static_cast<WatchPage*>(memory));
  if (page->magic != WatchPage::kMagic)
    return Fail(Code::kInvalid, "the page of dropped packets: not one of this version");
  return page;
}

}  // namespace stele::watch
