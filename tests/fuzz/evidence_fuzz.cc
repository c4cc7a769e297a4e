// Bundles under libFuzzer. The input is an archive as it stands, or edits of an honest bundle: a list of {member u8, where u16,
// what u8}, with a manifest made to fit. Oracle: never good unless every member that a signature or a hash reaches is the
// honest one, byte for byte.
#include <cstdint>

#include "appliance/ledger/cosignature.h"
#include "tests/unit/evidence/made_log.h"

namespace {

using namespace stele;
using namespace stele::evidence;

struct Honest {
  MadeLog log;
  Policy policy;
  TakenApart apart;
  Honest() {
    log.Append(3);
    log.Checkpoint(true);
    log.Append(2);
    log.Checkpoint(false);
    policy.nonce = NonceOf("mine");
    policy.pin_pem = log.provisioning_public_pem;
    policy.ek_roots_pem = EkRootPem();
    // Both witnesses are needed: whatever becomes of a line, the quorum is gone or the line is bad.
    const ledger::Cosigner a = ledger::Cosigner::FromSeed("a.example", NonceOf("a")).value();
    const ledger::Cosigner b = ledger::Cosigner::FromSeed("b.example", NonceOf("b")).value();
    policy.witnesses = ledger::ParseWitnessPolicy("witness a " + a.key().Vkey() + "\nwitness b " + b.key().Vkey() +
                                                  "\ngroup both all a b\nquorum both\n")
                           .value();
    policy.witness_max_age_s = 0;
    const BundleWish wish = log.All(NonceOf("mine"));
    BundleHead head = log.Head(wish);
    const std::string text = log.NoteText(log.checkpoint_size());
    head.cosigned_note = log.Note(log.checkpoint_size()) + a.Cosign(text, 1) + b.Cosign(text, 2);
    apart = TakeApart(log.Assemble(head, wish));
    STELE_CHECK(VerifyBundle(apart.Together(), policy).good());
  }
};

// Text for people, claims nobody signs, and PEMs, which may be written in several ways.
bool MayDiffer(std::string_view name) {
  return name == "README" || name == "bundle.json" || name == "attest.json" || name == "receipt.json" || name == "manifest.json" ||
         name.ends_with(".pem");
}

void Edit(TakenApart& apart, ByteView edits) {
  for (; edits.size() >= 4; edits = edits.subspan(4)) {
    Bytes& content = apart.files[std::to_integer<std::size_t>(edits[0]) % apart.files.size()].second;
    const auto where = static_cast<std::size_t>(LoadLittle<std::uint16_t>(edits.data() + 1));
    const auto what = edits[3];
    if (where >= 0xff00) {  // longer or shorter
      content.resize((where & 1U) != 0 ? content.size() + 1 : content.size() - (content.empty() ? 0 : 1), what);
    } else if (!content.empty()) {
      content[where % content.size()] ^= what;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Honest honest;
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  if (size == 0) return 0;
  if ((data[0] & 1U) != 0) {
    STELE_CHECK(!VerifyBundle(input.subspan(1), honest.policy).good());
    return 0;
  }
  TakenApart apart = honest.apart;
  Edit(apart, input.subspan(1));
  const Report report = VerifyBundle(apart.Together(), honest.policy);
  (void)ReportHtml(report, "fuzz");
  if (!report.good()) return 0;
  for (std::size_t i = 0; i < apart.files.size(); ++i) {
    STELE_CHECK(MayDiffer(apart.files[i].first) || apart.files[i].second == honest.apart.files[i].second);
  }
  return 0;
}
