// Where Stele's objects live in a TPM, and which registers a quote covers.
// Source of the ranges: TCG "Registry of Reserved TPM 2.0 Handles and Localities" (persistent objects of the owner
// 0x81000000-0x817fffff, NV indices of the owner 0x01800000-0x01bfffff, EK certificates 0x01c00000-0x01c07fff).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace stele::tpm {

struct Handles {
  std::uint32_t ek = 0x81010001;       // RSA 2048 endorsement key (TCG EK Credential Profile, template L-1)
  std::uint32_t ak = 0x81015354;       // "ST": the attestation key, a child of the endorsement key
  std::uint32_t storage = 0x81015355;  // parent of the sealed seed: ECC P-256 storage key of the owner hierarchy
  std::uint32_t counter = 0x01815301;  // C, an NV counter: how many anchors there were
  std::uint32_t index = 0x01815302;    // X, an NV extend index: the chain of all anchors
};

inline constexpr std::uint32_t kEkCertificateIndex = 0x01c00002;
inline constexpr std::uint32_t kDefaultPcr = 14;

// The anchor's PCR may be 8, 13 or 14. PCR 16 and 23 can be reset from locality 0, so local code could rewrite history
// in them; the others are written by firmware, boot loader or kernel (9, 11 and 12 are quoted, and are not ours).
[[nodiscard]] constexpr bool IsAnchorPcr(std::uint32_t pcr) { return pcr == 8 || pcr == 13 || pcr == 14; }

// What a quote covers: PCR 0-7, 9, 11, 12 and the anchor's own, sha256 bank.
using PcrSelection = std::array<std::uint8_t, 3>;  // TPMS_PCR_SELECTION.pcrSelect: bit r % 8 of byte r / 8
[[nodiscard]] PcrSelection QuoteSelection(std::uint32_t anchor_pcr);
[[nodiscard]] std::vector<std::uint32_t> RegistersOf(const PcrSelection& selection);  // ascending

}  // namespace stele::tpm
