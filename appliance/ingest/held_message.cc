#include "appliance/ingest/held_message.h"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

namespace stele::ingest {

// SHA-256("stele/whole/v1" || salt || octets), fed as they pass.
class HeldMessage::WholeHash {
 public:
  explicit WholeHash(const record::Salt& salt) : salt_(salt), context_(EVP_MD_CTX_new()) {
    static const Digest kSha256(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    STELE_CHECK(context_ != nullptr && kSha256 != nullptr);
    STELE_CHECK(EVP_DigestInit_ex2(context_.get(), kSha256.get(), nullptr) == 1);
    Update(AsBytes("stele/whole/v1"));
    Update(salt_);
  }
  void Update(ByteView octets) { STELE_CHECK(EVP_DigestUpdate(context_.get(), octets.data(), octets.size()) == 1); }
  [[nodiscard]] Hash Finish() {
    Hash hash{};
    STELE_CHECK(EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(hash.data()), nullptr) == 1);
    return hash;
  }
  [[nodiscard]] const record::Salt& salt() const { return salt_; }

 private:
  struct FreeDigest {
    void operator()(EVP_MD* digest) const { EVP_MD_free(digest); }
  };
  struct FreeContext {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  using Digest = std::unique_ptr<EVP_MD, FreeDigest>;
  record::Salt salt_;
  std::unique_ptr<EVP_MD_CTX, FreeContext> context_;
};

HeldMessage::HeldMessage(std::size_t message_bytes_max, const record::SaltKey& salt_key, HeldBytes* budget)
    : message_bytes_max_(std::max(message_bytes_max, kMessageBytesMin)),
      salt_key_(salt_key),
      budget_(budget),
      limit_bytes_(message_bytes_max_) {}

HeldMessage::~HeldMessage() {
  if (budget_ != nullptr) budget_->used_bytes -= charged_bytes_ + delivered_charged_bytes_;
}

void HeldMessage::Take(ByteView octets) {
  if (octets.empty()) return;
  received_ += octets.size();
  last_octet_ = octets.back();
  const std::size_t kept = whole_hash_ != nullptr ? 0 : MakeRoom(octets.size());
  if (kept < octets.size() && whole_hash_ == nullptr) {
    whole_hash_ = std::make_unique<WholeHash>(record::DeriveSalt(salt_key_, truncated_count_));
    whole_hash_->Update(held_);
    whole_hash_->Update(octets.first(kept));
  }
  Append(held_, octets.first(kept));
  if (whole_hash_ != nullptr) whole_hash_->Update(octets.subspan(kept));
}

void HeldMessage::TakeBack(std::size_t octets) {
  STELE_CHECK(whole_hash_ == nullptr && octets <= held_.size());
  held_.resize(held_.size() - octets);
  received_ -= octets;
  if (!held_.empty()) last_octet_ = held_.back();
}

HeldView HeldMessage::Deliver(std::uint64_t length) {
  Release();
  std::swap(delivered_, held_);
  std::swap(delivered_charged_bytes_, charged_bytes_);
  HeldView view;
  view.bytes = ByteView(delivered_).first(static_cast<std::size_t>(std::min<std::uint64_t>(length, delivered_.size())));
  if (view.bytes.size() < length) {
    STELE_CHECK(whole_hash_ != nullptr);
    view.truncated = true;
    view.whole_salt = whole_hash_->salt();
    view.whole_hash = whole_hash_->Finish();
    ++truncated_count_;
  }
  whole_hash_.reset();
  received_ = 0;
  limit_bytes_ = message_bytes_max_;
  return view;
}

HeldView HeldMessage::Whole(ByteView whole) {
  HeldView view;
  view.bytes = whole.first(std::min(whole.size(), message_bytes_max_));
  if (view.bytes.size() < whole.size()) {
    view.truncated = true;
    view.whole_salt = record::DeriveSalt(salt_key_, truncated_count_++);
    WholeHash hash(view.whole_salt);
    hash.Update(whole);
    view.whole_hash = hash.Finish();
  }
  return view;
}

void HeldMessage::Release() {
  if (!delivered_.empty() || delivered_charged_bytes_ != 0) Shrink(delivered_, delivered_charged_bytes_);
}

void HeldMessage::Drop() {
  Shrink(held_, charged_bytes_);
  limit_bytes_ = message_bytes_max_;
  whole_hash_.reset();
  received_ = 0;
}

void HeldMessage::Shrink(Bytes& buffer, std::size_t& charged_bytes) {
  buffer.clear();
  if (buffer.capacity() > kHeldBytesFree) Bytes().swap(buffer);
  if (budget_ != nullptr) budget_->used_bytes -= charged_bytes;
  charged_bytes = 0;
}

// How many of `octets` may be kept; the memory for them is there when it returns.
std::size_t HeldMessage::MakeRoom(std::size_t octets) {
  const std::size_t size = held_.size();
  const std::size_t kept = std::min(octets, limit_bytes_ - std::min(size, limit_bytes_));
  if (size + kept <= held_.capacity()) return kept;
  std::size_t capacity = std::min(std::max({2 * held_.capacity(), size + kept, std::size_t{256}}), message_bytes_max_);
  capacity = std::max(capacity, size + kept);
  if (budget_ != nullptr) {
    const auto charge_for = [](std::size_t bytes) { return bytes - std::min(bytes, kHeldBytesFree); };
    const std::size_t room =
        budget_->limit_bytes - std::min(budget_->used_bytes, budget_->limit_bytes) + charged_bytes_;
    if (charge_for(capacity) > room) capacity = size + kept;
    if (charge_for(capacity) > room) {
      // No memory to spare: this message ends here, at what is held or at what every connection may hold.
      limit_bytes_ = std::min(std::max(held_.capacity(), kHeldBytesFree), message_bytes_max_);
      const std::size_t less = std::min(octets, limit_bytes_ - std::min(size, limit_bytes_));
      held_.reserve(size + less);
      return less;
    }
    budget_->used_bytes += charge_for(capacity) - std::min(charged_bytes_, charge_for(capacity));
    charged_bytes_ = std::max(charged_bytes_, charge_for(capacity));
  }
  held_.reserve(capacity);
  return kept;
}

}  // namespace stele::ingest
