#include "appliance/ingest/signed_sessions.h"

#include <algorithm>

namespace stele::ingest {
namespace {

using Word = BlockVerdict::Word;

// RFC 5848 section 4.2.2: a reboot session is RSID within the signer, which is HOSTNAME, APP-NAME and PROCID.
std::string SessionIdOf(const SignedBlock& block) {
  std::string id;
  for (const std::string_view part : {block.host, block.app, block.pid}) id.append(part).append(1, ' ');
  return id + std::to_string(block.session);
}

// Takes one verification off the account. False: there is none left.
bool Check(const SignatureProof& proof, evp_pkey_st* key, unsigned& checks_left, bool& holds) {
  if (checks_left == 0) return false;
  --checks_left;
  holds = Holds(proof, key);
  return true;
}

}  // namespace

SignedSessions::~SignedSessions() {
  while (!payloads_.empty()) Forget(0);
}

BlockVerdict SignedSessions::Judge(const SignedBlock& block, const SyslogKeys& keys, std::int64_t wall_ns,
                                   unsigned& checks_left) {
  const SignatureProof proof = ProofOf(block);
  bool holds = false;
  bool key_known = false;
  if (const SyslogKeys::Claim* announced = KeyOf(block)) {
    if (!Check(proof, announced->key.get(), checks_left, holds)) return {Word::kUnchecked, nullptr, ""};
    if (holds) return {Word::kValid, announced->registered, ""};
    key_known = true;
  }
  if (block.is_certificate) {
    const std::string id =
        SessionIdOf(block) + ' ' + std::to_string(block.group.kind) + ' ' + std::to_string(block.group.priority);
    if (const Payload* whole = Collect(block, id)) {
      bool settled = false;
      const BlockVerdict verdict = JudgePayload(*whole, block, keys, wall_ns, checks_left, settled);
      Forget(static_cast<std::size_t>(whole - payloads_.data()));
      if (settled) return verdict;
    }
  }
  for (const SyslogKeys::Registered* known : keys.KnownFor(block.host)) {
    if (!Check(proof, known->key.get(), checks_left, holds)) return {Word::kUnchecked, nullptr, ""};
    if (holds) return {Word::kValid, known, ""};
    key_known = key_known || !known->host.empty();
  }
  // A fragment may belong to a certificate that is still to be put together.
  if (key_known && !block.is_certificate) return {Word::kInvalid, nullptr, "the signature does not hold"};
  return {Word::kUnknown, nullptr, ""};
}

// What a whole Payload Block says. Not settled: it brings no key, or none that is registered, and the keys known
// beforehand have the word.
BlockVerdict SignedSessions::JudgePayload(const Payload& payload, const SignedBlock& block, const SyslogKeys& keys,
                                          std::int64_t wall_ns, unsigned& checks_left, bool& settled) {
  const auto read = ReadPayloadBlock(payload.text);
  settled = !read;
  if (!read) return {Word::kInvalid, nullptr, "the Payload Block is not a time stamp, a type and a key"};
  const SyslogKeys::Claim claim = keys.Resolve(*read, block.host, wall_ns);
  if (!claim.key) return {};
  settled = true;
  for (const SignatureProof& proof : payload.proofs) {
    bool holds = false;
    if (!Check(proof, claim.key.get(), checks_left, holds)) return {Word::kUnchecked, nullptr, ""};
    if (!holds) return {Word::kInvalid, claim.registered, "the signature of a Certificate Block does not hold"};
  }
  Learn(block, claim);
  return {Word::kValid, claim.registered, ""};
}

SignedSessions::Payload* SignedSessions::Collect(const SignedBlock& block, std::string id) {
  if (block.payload_bytes > limits::kSignedPayloadBytes) return nullptr;
  auto at = std::find_if(payloads_.begin(), payloads_.end(), [&id](const Payload& one) { return one.id == id; });
  if (at != payloads_.end() && at->text.size() != block.payload_bytes) {  // it begins anew
    Forget(static_cast<std::size_t>(at - payloads_.begin()));
    at = payloads_.end();
  }
  if (at == payloads_.end()) {
    if (payloads_.size() >= limits::kSignedPayloads) Forget(0);
    if (payload_bytes_ + block.payload_bytes > limits::kSignedPayloadsBytes) return nullptr;
    payload_bytes_ += block.payload_bytes;
    Payload fresh;
    fresh.id = std::move(id);
    fresh.text.resize(block.payload_bytes);
    fresh.have.resize(block.payload_bytes);
    at = payloads_.insert(payloads_.end(), std::move(fresh));
  }
  const std::size_t first = block.fragment_first - 1;
  bool repeated = true;
  for (std::size_t i = 0; i < block.fragment.size(); ++i) {
    if (at->have[first + i] && at->text[first + i] == block.fragment[i]) continue;
    repeated = false;
    if (!at->have[first + i]) ++at->have_count;
    at->have[first + i] = true;
    at->text[first + i] = block.fragment[i];
  }
  if (!repeated) at->proofs.push_back(ProofOf(block));
  if (at->proofs.size() > limits::kSignedFragments) {
    Forget(static_cast<std::size_t>(at - payloads_.begin()));
    return nullptr;
  }
  return at->have_count == at->text.size() ? &*at : nullptr;
}

void SignedSessions::Forget(std::size_t index) {
  payload_bytes_ -= payloads_[index].text.size();
  payloads_.erase(payloads_.begin() + static_cast<std::ptrdiff_t>(index));
}

void SignedSessions::Learn(const SignedBlock& block, const SyslogKeys::Claim& claim) {
  std::string id = SessionIdOf(block);
  std::erase_if(keys_, [&id](const SessionKey& one) { return one.id == id; });
  if (keys_.size() >= limits::kSignedSessionKeys) keys_.erase(keys_.begin());
  keys_.push_back({std::move(id), claim});
}

const SyslogKeys::Claim* SignedSessions::KeyOf(const SignedBlock& block) const {
  if (keys_.empty()) return nullptr;
  const std::string id = SessionIdOf(block);
  const auto at = std::find_if(keys_.begin(), keys_.end(), [&id](const SessionKey& one) { return one.id == id; });
  return at == keys_.end() ? nullptr : &at->claim;
}

}  // namespace stele::ingest
