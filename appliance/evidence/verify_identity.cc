// Who made this evidence: the provisioning record and its signature, the endorsement and attestation keys, the guarded
// registers, and the checkpoint's own signature.
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

#include "appliance/evidence/endorsement.h"
#include "appliance/evidence/verify_state.h"
#include "tpm/certificate.h"
#include "tpm/names.h"
#include "tpm/signing.h"

namespace stele::evidence {
namespace {

constexpr int kChainMax = 16;

struct Free {
  void operator()(BIO* bio) const noexcept { BIO_free_all(bio); }
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
};
using BioPtr = std::unique_ptr<BIO, Free>;

// The certificates of a PEM that are not self-signed: a bundle may bring intermediates, never roots.
std::string IntermediatesOf(std::string_view pem) {
  const BioPtr in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const BioPtr out(BIO_new(BIO_s_mem()));
  for (int i = 0; in && out && i < kChainMax; ++i) {
    char no_password[] = "";
    const std::unique_ptr<X509, Free> certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, no_password));
    if (!certificate) break;
    if ((X509_get_extension_flags(certificate.get()) & (EXFLAG_SS | EXFLAG_SI)) == 0) {
      (void)PEM_write_bio_X509(out.get(), certificate.get());  // to memory
    }
  }
  char* data = nullptr;
  const long size = out ? BIO_get_mem_data(out.get(), &data) : 0;
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string{};
}

bool CheckBundle(VerifyState& state) {
  auto info = DecodeBundleInfo(state.TextOf(Part::kBundle));
  auto audit = anchor::DecodeAudit(state.TextOf(Part::kAttest));
  if (!info || !audit) {
    state.checks.Fail("bundle", "DAMAGED", info ? audit.error().context : info.error().context,
                      info ? "attest.json" : "bundle.json");
    return false;
  }
  if (info->log_id != audit->log_id || info->nonce != audit->nonce) {
    state.checks.Fail("bundle", "DAMAGED", "bundle.json and attest.json are of different bundles", "attest.json");
    return false;
  }
  Facts& facts = state.facts;
  facts.log_id = HexOf(info->log_id);
  facts.origin = info->origin;
  facts.nonce = HexOf(info->nonce);
  facts.created_ns = info->created_ns;
  facts.selection_kind = info->selection_kind;
  facts.selection_text = info->selection_text;
  facts.scope_limited = info->scope_limited;
  facts.payloads = info->payloads;
  facts.log_size = info->log_size;
  facts.attested_wall_ns = audit->wall_ns;
  facts.demand = audit->demand;
  facts.demand_text = audit->demand_text;
  state.info = std::move(*info);
  state.audit = std::move(*audit);
  state.checks.Pass("bundle", state.facts.selection_kind + " of log " + state.facts.log_id);
  return true;
}

bool CheckProvisioning(VerifyState& state) {
  const std::string key_pem(state.TextOf(Part::kProvisioningKey));
  const ByteView record = state.Of(Part::kRecord);
  if (anchor::LogIdOf(record) != state.info->log_id) {
    state.checks.Fail("provisioning", "TAMPERED", "the record's SHA-256 is not the log id", "provisioning/record.json");
    return false;
  }
  if (const auto verified = tpm::VerifySignature(key_pem, record, state.Of(Part::kRecordSignature)); !verified) {
    state.checks.Fail("provisioning", "TAMPERED", verified.error().context, "provisioning/record.sig");
    return false;
  }
  auto epochs = EpochsOf(state);
  if (!epochs || epochs->number() != state.audit->epoch) {
    state.checks.Fail("provisioning", "TAMPERED", epochs ? "the TPM answered in another epoch" : epochs.error().context,
                      state.Has(Part::kEpochs) ? "provisioning/epochs.json" : "provisioning/record.json");
    return false;
  }
  state.record = epochs->current().record;
  state.facts.epoch = epochs->number();
  state.epochs = std::move(*epochs);
  state.pins = anchor::PinsOf(*state.record, state.info->log_id);
  state.facts.software_tpm = state.record->software_tpm;
  state.checks.Pass("provisioning", "signed by the key in the bundle; its SHA-256 is the log id");
  return true;
}

void CheckPin(VerifyState& state) {
  if (state.policy.pin_pem.empty()) {
    state.checks.Skip("pin", "no pin was given: whether the provisioning key is the right one is not known");
    return;
  }
  // Compared as points: two PEMs of one key may differ in their line breaks.
  const auto ours = tpm::PointOf(state.policy.pin_pem);
  const auto theirs = tpm::PointOf(state.TextOf(Part::kProvisioningKey));
  if (!ours || !theirs || ours->x != theirs->x || ours->y != theirs->y) {
    state.checks.Fail("pin", "TAMPERED", "the record is signed by another key than the pinned one", "provisioning/key.pem");
    return;
  }
  state.checks.Pass("pin", "the provisioning key is the pinned one");
}

void CheckEndorsement(VerifyState& state) {
  const auto fail = [&state](std::string detail) {
    state.checks.Fail("endorsement", "TPM_REPLACED", std::move(detail), "tpm/ek.der");
  };
  const ByteView certificate = state.Of(Part::kEkCertificate);
  if (!SameBytes(certificate, state.record->ek_certificate)) return fail("not the certificate that was provisioned");
  if (certificate.empty()) {
    if (!state.policy.ek_roots_pem.empty()) return fail("the TPM carries no certificate to check against the given root");
    return state.checks.Skip("endorsement", "the TPM carries no certificate: only the provisioning signature vouches for it");
  }
  const auto name = EkNameOf(certificate);
  if (!name) return fail(name.error().context);
  if (*name != state.record->identity.ek_name) return fail("the certificate is for another key than the pinned one");
  if (state.policy.ek_roots_pem.empty()) {
    state.unchecked.emplace_back("the maker of the TPM: no root certificate was given (--ek-root)");
    return state.checks.Pass("endorsement", "the certificate is for the pinned key; its chain was not asked for");
  }
  const std::string authorities = state.policy.ek_roots_pem + "\n" + IntermediatesOf(state.TextOf(Part::kEkChain));
  if (const auto chain = tpm::VerifyEkChain(certificate, authorities, state.record->created_ns); !chain) {
    return fail(chain.error().context);
  }
  state.checks.Pass("endorsement", "the certificate is for the pinned key and leads to the given root");
}

void CheckAttestationKey(VerifyState& state) {
  const auto fail = [&state](std::string detail) {
    state.checks.Fail("attestation_key", "TPM_CLEARED", std::move(detail), "tpm/ak.tpm2b");
  };
  const auto key = tpm::ParseAttestationKey(state.Of(Part::kAkPublic));
  if (!key) return fail(key.error().context);
  const auto point = tpm::PointOf(key->public_pem);
  for (const std::string_view pem : {state.TextOf(Part::kAkPem), std::string_view(state.record->ak_public_pem)}) {
    const auto other = tpm::PointOf(pem);
    if (!point || !other || point->x != other->x || point->y != other->y) return fail("its PEM is of another key");
  }
  if (!SameBytes(state.record->ak_public, state.Of(Part::kAkPublic)) || key->name != state.record->identity.ak_name) {
    return fail("not the attestation key that was provisioned");
  }
  state.checks.Pass("attestation_key", "a restricted signing key of this TPM, as provisioned");
}

void CheckRegisters(VerifyState& state) {
  const std::string_view key = state.TextOf(Part::kProvisioningKey);
  const auto counter = tpm::WrittenCounterName(state.record->handles, key);
  const auto index = tpm::WrittenIndexName(state.record->handles, key);
  const bool guarded = counter && index && *counter == state.record->identity.counter_name &&
                       *index == state.record->identity.index_name;
  if (!guarded) {
    return state.checks.Fail("registers", "ANCHOR_REDEFINED",
                             "the Names of counter and index are not those of registers guarded by the provisioning key",
                             "provisioning/record.json");
  }
  state.checks.Pass("registers", "counter and index could be written first only with the provisioning key");
}

void CheckCheckpoint(VerifyState& state) {
  const auto fail = [&state](std::string detail, const char* place = "checkpoint") {
    state.checks.Fail("checkpoint", "TAMPERED", std::move(detail), place);
  };
  std::string_view vkey = state.TextOf(Part::kVkey);
  if (vkey.ends_with('\n')) vkey.remove_suffix(1);
  auto key = ledger::ParseVkey(vkey);
  if (!key) return fail(key.error().context, "log.vkey");
  const Bytes& pinned = state.record->checkpoint_key;
  if (!pinned.empty() && !SameBytes(pinned, key->public_key)) {
    return fail("not the checkpoint key that was provisioned", "log.vkey");
  }
  auto opened = ledger::OpenCheckpoint(state.TextOf(Part::kCheckpoint), *key);
  if (!opened) return fail(opened.error().context);
  // A configured origin is not in records made before it was configured; then the key's name binds it.
  if (opened->checkpoint.origin != state.info->origin || opened->checkpoint.origin != state.audit->origin) {
    return fail("its origin is not the bundle's");
  }
  if (opened->digest != state.audit->digest) return fail("its digest is not the one that was quoted");
  if (opened->checkpoint.size == 0 || opened->checkpoint.size > kTreeSizeMax) return fail("a size no log has");
  state.facts.vkey = std::string(vkey);
  state.facts.size = opened->checkpoint.size;
  state.facts.root = opened->checkpoint.root;
  state.checks.Pass("checkpoint", std::to_string(opened->checkpoint.size) + " entries, signed by " + opened->checkpoint.origin);
  state.key = std::move(*key);
  state.checkpoint = std::move(*opened);
}

}  // namespace

void CheckIdentity(VerifyState& state) {
  if (!CheckBundle(state)) return;
  if (!CheckProvisioning(state)) return;
  CheckPin(state);
  CheckEndorsement(state);
  CheckAttestationKey(state);
  CheckRegisters(state);
  CheckCheckpoint(state);
}

void CheckSince(VerifyState& state) {
  if (!state.policy.since_note) return state.checks.Skip("since", "no earlier receipt was given");
  if (!state.key || !state.checkpoint) return state.checks.Skip("since", "there is no checkpoint to compare with");
  const auto earlier = OpenEarlier(state, *state.policy.since_note);
  if (!earlier) {
    return state.checks.Fail("since", "TAMPERED", "the receipt is not signed by this log's key: " + earlier.error().context,
                             "receipt");
  }
  const std::uint64_t size = earlier->checkpoint.size;
  const std::string sizes = std::to_string(size) + " entries then, " + std::to_string(state.facts.size) + " now";
  if (size > state.facts.size) {
    return state.checks.Fail("since", "ROLLED_BACK", "the receipt is for a larger log: " + sizes, "receipt");
  }
  const auto root = state.facts.roots.find(size);
  if (root == state.facts.roots.end()) {
    return state.checks.Fail("since", "CANNOT_TELL",
                             "the bundle holds no proof for size " + std::to_string(size) + ": make it with --since", "receipt");
  }
  if (root->second != earlier->checkpoint.root) {
    return state.checks.Fail("since", "TAMPERED", "this log does not continue the one of the receipt: " + sizes, "receipt");
  }
  state.checks.Pass("since", "continues the log of the receipt: " + sizes);
}

}  // namespace stele::evidence
