// Requests to a witness. Oracles: what is read is written again byte for byte; a request for a signed checkpoint is
// cosigned exactly when the old size is the witness's and the proof verifies by RFC 9162; the answer file is read as it
// was written.
#include <cstdint>

#include "appliance/ledger/add_checkpoint.h"
#include "appliance/ledger/merkle.h"
#include "appliance/witness/answer_file.h"

namespace {

using namespace stele;
using namespace stele::ledger;

const SigningKey& Key() {
  static const SigningKey key = *SigningKey::FromSeed("log.invalid/fuzz", Bytes(kKeyBytes, std::byte{7}));
  return key;
}

// The checkpoint and the head come from the input, the signature from us: so the checks behind it are reached.
void SignedRequest(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return;
  const ByteView rest = AsBytes(std::string_view(reinterpret_cast<const char*>(data + 4), size - 4));
  Reader reader(rest);
  Checkpoint checkpoint{Key().verify_key().name, data[0] % 16U, reader.ReadHash()};
  WitnessedHead head{data[1] % 16U, reader.ReadHash()};
  AddCheckpoint request{data[2] % 16U, {}, Key().Sign(FormatCheckpoint(checkpoint))};
  for (unsigned i = 0; i < data[3] % 8U; ++i) request.proof.push_back(reader.ReadHash());
  const auto decision = DecideAddCheckpoint(FormatAddCheckpoint(request), {Key().verify_key()},
                                            [&head](const std::string&) { return head; });
  const bool good = request.old_size == head.size && request.old_size <= checkpoint.size &&
                    VerifyConsistency(head.size, checkpoint.size, head.root, checkpoint.root, request.proof);
  STELE_CHECK((decision.verdict == WitnessVerdict::kCosign) == good);
  if (request.old_size > checkpoint.size) STELE_CHECK(decision.verdict == WitnessVerdict::kMalformed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  if (const auto request = ParseAddCheckpoint(body)) STELE_CHECK(FormatAddCheckpoint(*request) == body);
  const auto decision =
      DecideAddCheckpoint(body, {Key().verify_key()}, [](const std::string&) { return WitnessedHead{}; });
  if (decision.verdict == WitnessVerdict::kCosign) STELE_CHECK(ParseForeignCheckpoint(decision.text).has_value());
  if (const auto answer = witness::ParseAnswerFile(body)) STELE_CHECK(witness::FormatAnswerFile(*answer) == body);
  if (const auto tree_size = ParseTreeSize(body)) STELE_CHECK(std::to_string(*tree_size) + "\n" == body);
  SignedRequest(data, size);
  return 0;
}
