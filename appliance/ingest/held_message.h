// A message that reads cut into pieces, while it is put together: grows with the octets that arrived, never with a
// claimed length, within the message's own maximum and a budget that all connections of a process share. What finds no
// room is not kept, but hashed with the rest, so that whoever holds the original can prove what was sent. Thread
// safety: one connection = one thread; messages that share HeldBytes share a thread.
#pragma once

#include <cstdint>
#include <memory>

#include "appliance/base/bytes.h"
#include "appliance/base/limits.h"
#include "appliance/record/entry.h"

namespace stele::ingest {

// Bytes of half messages held by all connections of one listener process: what keeps 4,096 senders of half a mebibyte
// from taking 2 GiB. A connection may always hold kHeldBytesFree; beyond, a message that finds no room is truncated
// (and says so).
struct HeldBytes {
  std::size_t limit_bytes = limits::kHalfMessagesBytes;
  std::size_t used_bytes = 0;
};
inline constexpr std::size_t kHeldBytesFree = 4 * limits::kKiB;
inline constexpr std::size_t kMessageBytesMin = 64;  // a smaller maximum is raised to it

// A message as it goes on: `bytes` is only its beginning when it was truncated.
struct HeldView {
  ByteView bytes;
  bool truncated = false;
  record::Salt whole_salt{};  // only when truncated: DeriveSalt(salt_key, number of the truncated message)
  Hash whole_hash{};          // only when truncated: SHA-256("stele/whole/v1" || whole_salt || every octet)
};

class HeldMessage {
 public:
  HeldMessage(std::size_t message_bytes_max, const record::SaltKey& salt_key, HeldBytes* budget);
  ~HeldMessage();
  HeldMessage(const HeldMessage&) = delete;
  HeldMessage& operator=(const HeldMessage&) = delete;

  void Take(ByteView octets);
  void TakeBack(std::size_t octets);  // the last ones taken; only while nothing was left out
  [[nodiscard]] std::uint64_t received() const { return received_; }  // octets taken, kept or not
  [[nodiscard]] ByteView kept() const { return held_; }
  [[nodiscard]] std::byte last_octet() const { return last_octet_; }
  [[nodiscard]] bool empty() const { return received_ == 0; }

  // The message of the first `length` octets taken (all, or all but a delimiter that was kept); the next one begins.
  // The view is valid until Release(), whatever is taken meanwhile.
  [[nodiscard]] HeldView Deliver(std::uint64_t length);
  void Release();  // what was delivered
  void Drop();     // what was taken
  // A message that lies whole in the caller's buffer; the view is of that.
  [[nodiscard]] HeldView Whole(ByteView whole);

  [[nodiscard]] std::size_t message_bytes_max() const { return message_bytes_max_; }

 private:
  class WholeHash;  // running SHA-256 of a message that is too long

  [[nodiscard]] std::size_t MakeRoom(std::size_t octets);
  void Shrink(Bytes& buffer, std::size_t& charged_bytes);

  std::size_t message_bytes_max_;
  record::SaltKey salt_key_;
  HeldBytes* budget_;  // null = message_bytes_max each
  Bytes held_;
  std::size_t charged_bytes_ = 0;  // to the budget, for held_
  std::size_t limit_bytes_;        // of this message: message_bytes_max, less when the budget is used up
  std::uint64_t received_ = 0;
  std::byte last_octet_{};
  Bytes delivered_;
  std::size_t delivered_charged_bytes_ = 0;
  std::uint32_t truncated_count_ = 0;
  std::unique_ptr<WholeHash> whole_hash_;
};

}  // namespace stele::ingest
