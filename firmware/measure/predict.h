// What a unified kernel image will leave in the registers when UEFI firmware boots it directly with Secure Boot on:
// from the image and the variables alone, without a TPM. Pure.
//
//   PCR 7       SecureBoot = 1, PK, KEK, db, dbx (absent: empty), separator, the entry of db that lets the image start
//   PCR 4       "Calling EFI Application from Boot Option", separator, the image's Authenticode digest
//   PCR 9, 12   stub.h
//   PCR 11      stub.h, then one word per phase (systemd-pcrphase: without a NUL)
//
// It holds for firmware that does what EDK II does (SecurityPkg: Tcg2Dxe, DxeTpm2MeasureBootLib,
// DxeImageVerificationLib) and starts the image as its first boot option: no boot manager or shell before it, no dbt or
// dbr, no other measured application. PCR 0 to 3, 5 and 6 are the machine's and are not predicted.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "firmware/measure/secure_boot.h"

namespace stele::measure {

inline constexpr std::size_t kPhasesMax = 16;

// The variables' contents: EFI signature lists, without the header of an authenticated write.
struct SecureBootVariables {
  Bytes pk;
  Bytes kek;
  Bytes db;
  Bytes dbx;  // may be empty
};

struct PredictedEvent {
  std::uint32_t pcr = 0;
  std::uint32_t type = 0;
  Hash digest{};
  std::string what;  // for people
};

struct PhaseValue {
  std::string path;  // "", "enter-initrd", "enter-initrd:leave-initrd", ... as systemd-measure writes them
  Hash value{};      // of PCR 11
};

struct SectionFact {
  std::string name;
  std::uint64_t size_bytes = 0;
  Hash sha256{};
};

struct Prediction {
  std::vector<PredictedEvent> events;       // per register in order
  std::map<std::uint32_t, Hash> registers;  // 4, 7, 9, 11 (after the last phase), 12
  std::vector<PhaseValue> phases;           // the first is before any
  // What it was predicted from.
  std::string stub;
  std::uint64_t uki_size_bytes = 0;
  Hash uki_sha256{};
  Hash authenticode{};
  std::vector<SectionFact> sections;
  std::map<std::string, Hash> variables;  // SHA-256 of PK, KEK, db, dbx
  Guid authority_owner{};
  Hash authority_sha256{};  // of its data: the certificate in DER, or the digest
};

// kInvalid: not such an image, malformed lists, no PK, a phase that is no word. kDenied: the firmware would not start
// it.
[[nodiscard]] Result<Prediction> Predict(ByteView uki, const SecureBootVariables& variables,
                                         const std::vector<std::string>& phases);

// PCR 11 as the stub leaves it, before any phase; of an image that is signed or not. kInvalid: not such an image.
[[nodiscard]] Result<Hash> ImageRegisterOf(ByteView uki);

// What the events leave in the registers they name.
[[nodiscard]] std::map<std::uint32_t, Hash> RegistersAfter(const std::vector<PredictedEvent>& events);

}  // namespace stele::measure
