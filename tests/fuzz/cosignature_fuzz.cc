// Cosignature lines, notes that carry them, and trust policies. Oracles: lines and notes are written again byte for
// byte; a cosignature of another key or text is never good; a policy's quorum is met by all of its witnesses, by nobody
// only where it is `none`, and one more witness never unmakes it.
#include <cstdint>

#include "appliance/ledger/witness_policy.h"

namespace {

using namespace stele;
using namespace stele::ledger;

const Cosigner& Witness() {
  static const Cosigner cosigner = *Cosigner::FromSeed("witness.invalid/fuzz", Bytes(kKeyBytes, std::byte{9}));
  return cosigner;
}

void CheckPolicy(const WitnessPolicy& policy, std::uint8_t choice) {
  std::set<std::string, std::less<>> cosigned;
  bool met = policy.QuorumMet(cosigned);
  STELE_CHECK(met == (policy.quorum == "none"));
  std::size_t at = choice;
  for (std::size_t i = 0; i < policy.witnesses.size(); ++i, ++at) {
    cosigned.insert(policy.witnesses[at % policy.witnesses.size()].name);
    const bool now = policy.QuorumMet(cosigned);
    STELE_CHECK(now || !met);
    met = now;
  }
  STELE_CHECK(met);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto lines = ParseSignatureLines(text)) {
    std::string again;
    for (const NoteSignature& line : *lines) again += FormatSignatureLine(line);
    STELE_CHECK(again == text);
  }
  if (const auto note = ParseNote(text)) {
    STELE_CHECK(FormatNote(*note) == text);
    Note cosigned = *note;
    cosigned.signatures = *ParseSignatureLines(Witness().Cosign(note->text, size));
    STELE_CHECK(VerifyCosignature(cosigned, Witness().key()).value_or(~std::uint64_t{0}) == size);
    cosigned.text += "x\n";
    STELE_CHECK(!VerifyCosignature(cosigned, Witness().key()).has_value());
  }
  if (const auto policy = ParseWitnessPolicy(text)) CheckPolicy(*policy, size == 0 ? std::uint8_t{0} : data[size / 2]);
  return 0;
}
