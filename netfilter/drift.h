// Hears of every change to the kernel's rules, whoever makes it, and who that was: a subscription to NFNLGRP_NFTABLES.
// What changed is then found by reading the table back (nft.h). Open it before the table is applied, and nothing is
// missed in between.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "appliance/base/fd.h"
#include "appliance/base/result.h"

namespace stele::netfilter {

// One transaction that the kernel has committed (NFT_MSG_NEWGEN).
struct RulesChange {
  std::uint32_t generation = 0;
  std::uint32_t process = 0;  // its number, in the namespace of the kernel's own view
  std::string program;        // its name, as it chose it
};

class RulesWatch {
 public:
  [[nodiscard]] static Result<RulesWatch> Open();  // kIo

  [[nodiscard]] int fd() const { return socket_.get(); }  // readable: something changed

  // All that is waiting; never blocks. An overrun of the socket is a change of nobody in particular: look at the table.
  [[nodiscard]] Result<std::vector<RulesChange>> Read();

 private:
  explicit RulesWatch(UniqueFd socket) : socket_(std::move(socket)) {}
  UniqueFd socket_;
};

}  // namespace stele::netfilter
