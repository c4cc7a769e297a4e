#include "tpm/examine.h"

#include <algorithm>
#include <cstdio>

namespace stele::tpm {
namespace {

constexpr std::uint32_t kCommandIndexMask = 0xffff;  // TPMA_CC.commandIndex

struct NamedCommand {
  std::uint32_t code;
  const char* name;
};
constexpr NamedCommand kNeeded[] = {{TPM2_CC_NV_Extend, "NV_Extend"},
                                    {TPM2_CC_NV_Increment, "NV_Increment"},
                                    {TPM2_CC_PolicyNvWritten, "PolicyNvWritten"},
                                    {TPM2_CC_PolicySigned, "PolicySigned"},
                                    {TPM2_CC_PolicyPCR, "PolicyPCR"},
                                    {TPM2_CC_ActivateCredential, "ActivateCredential"},
                                    {TPM2_CC_Unseal, "Unseal"},
                                    {TPM2_CC_Quote, "Quote"}};
// For audited reads, where NV_Certify is missing.
constexpr NamedCommand kNeededForAudit[] = {{TPM2_CC_GetSessionAuditDigest, "GetSessionAuditDigest"},
                                            {TPM2_CC_SetPrimaryPolicy, "SetPrimaryPolicy"},
                                            {TPM2_CC_PolicyCommandCode, "PolicyCommandCode"}};

std::string TrimmedText(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c < 0x20 || c == 0x7f; }), text.end());
  while (!text.empty() && text.back() == ' ') text.pop_back();
  while (!text.empty() && text.front() == ' ') text.erase(text.begin());
  return text;
}

std::string FourCharacters(std::uint32_t value) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>((value >> shift) & 0xff));
  return out;
}

using CapabilityPtr = EsysPtr<TPMS_CAPABILITY_DATA>;

Result<CapabilityPtr> Capability(Connection& connection, std::uint32_t capability, std::uint32_t first,
                                 std::uint32_t count, const char* what) {
  TPMI_YES_NO more = 0;
  TPMS_CAPABILITY_DATA* raw = nullptr;
  const TSS2_RC rc = Esys_GetCapability(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, capability, first,
                                        count, &more, &raw);
  CapabilityPtr data(raw);
  STELE_TRY_VOID(connection.Check(rc, what));
  return data;
}

// Zero for a property the TPM does not have.
Result<std::uint32_t> Property(Connection& connection, std::uint32_t property) {
  STELE_TRY(const CapabilityPtr data,
            Capability(connection, TPM2_CAP_TPM_PROPERTIES, property, 1, "ask the TPM what it is"));
  const TPML_TAGGED_TPM_PROPERTY& list = data->data.tpmProperties;
  return list.count == 1 && list.tpmProperty[0].property == property ? list.tpmProperty[0].value : 0;
}

Result<bool> HasHandle(Connection& connection, std::uint32_t handle) {
  STELE_TRY(const CapabilityPtr data, Capability(connection, TPM2_CAP_HANDLES, handle, 1, "ask the TPM what it holds"));
  return data->data.handles.count == 1 && data->data.handles.handle[0] == handle;
}

Result<void> Describe(Connection& connection, TpmFacts& out) {
  STELE_TRY(const std::uint32_t manufacturer, Property(connection, TPM2_PT_MANUFACTURER));
  out.manufacturer = TrimmedText(FourCharacters(manufacturer));
  std::string vendor;
  for (std::uint32_t i = 0; i < 4; ++i) {
    STELE_TRY(const std::uint32_t part, Property(connection, TPM2_PT_VENDOR_STRING_1 + i));
    vendor += FourCharacters(part);
  }
  out.vendor = TrimmedText(std::move(vendor));
  STELE_TRY(const std::uint64_t high, Property(connection, TPM2_PT_FIRMWARE_VERSION_1));
  STELE_TRY(const std::uint64_t low, Property(connection, TPM2_PT_FIRMWARE_VERSION_2));
  out.firmware_version = (high << 32) | low;
  // libtpms says "IBM" and "SW   TPM", the reference simulator "XYZ " or "MSFT" and "xCG fTPM".
  out.software_tpm = out.vendor.rfind("SW", 0) == 0 || out.manufacturer == "IBM" || out.manufacturer == "XYZ" ||
                     out.vendor.find("xCG") != std::string::npos;
  STELE_TRY(out.nv_counters_max, Property(connection, TPM2_PT_NV_COUNTERS_MAX));
  STELE_TRY(out.sessions_loaded_min, Property(connection, TPM2_PT_HR_LOADED_MIN));
  STELE_TRY(out.transients_min, Property(connection, TPM2_PT_HR_TRANSIENT_MIN));
  return {};
}

Result<void> ReadState(Connection& connection, TpmFacts& out) {
  STELE_TRY(const std::uint32_t permanent, Property(connection, TPM2_PT_PERMANENT));
  out.owner_auth_set = (permanent & TPMA_PERMANENT_OWNERAUTHSET) != 0;
  out.endorsement_auth_set = (permanent & TPMA_PERMANENT_ENDORSEMENTAUTHSET) != 0;
  out.lockout_auth_set = (permanent & TPMA_PERMANENT_LOCKOUTAUTHSET) != 0;
  out.clear_disabled = (permanent & TPMA_PERMANENT_DISABLECLEAR) != 0;
  out.in_lockout = (permanent & TPMA_PERMANENT_INLOCKOUT) != 0;
  STELE_TRY(const std::uint32_t startup, Property(connection, TPM2_PT_STARTUP_CLEAR));
  out.platform_enabled = (startup & TPMA_STARTUP_CLEAR_PHENABLE) != 0;
  return {};
}

std::string WithHandle(const char* what, std::uint32_t handle) {
  char hex[16];
  (void)std::snprintf(hex, sizeof hex, " 0x%08x", handle);
  return what + std::string(hex);
}

}  // namespace

Result<bool> HasCommand(Connection& connection, std::uint32_t code) {
  STELE_TRY(const CapabilityPtr data, Capability(connection, TPM2_CAP_COMMANDS, code, 1, "ask the TPM what it can do"));
  const TPML_CCA& list = data->data.command;
  return list.count == 1 && (list.commandAttributes[0] & kCommandIndexMask) == code;
}

Result<void> CheckBank(Connection& connection, std::uint32_t anchor_pcr) {
  STELE_TRY(const CapabilityPtr data, Capability(connection, TPM2_CAP_PCRS, 0, 1, "list the PCR banks"));
  const TPML_PCR_SELECTION& banks = data->data.assignedPCR;
  const PcrSelection wanted = QuoteSelection(anchor_pcr);
  for (std::uint32_t i = 0; i < banks.count && i < TPM2_NUM_PCR_BANKS; ++i) {
    const TPMS_PCR_SELECTION& bank = banks.pcrSelections[i];
    if (bank.hash != TPM2_ALG_SHA256 || bank.sizeofSelect < wanted.size()) continue;
    bool all = true;
    for (std::size_t octet = 0; octet < wanted.size(); ++octet) {
      all = all && (bank.pcrSelect[octet] & wanted[octet]) == wanted[octet];
    }
    if (all) return {};
  }
  return Fail(Code::kDenied, "the TPM's sha256 PCR bank is not enabled: extending it would succeed and do nothing");
}

Result<TpmFacts> Examine(Connection& connection, const Handles& handles, std::uint32_t pcr) {
  STELE_TRY_VOID(CheckBank(connection, pcr));
  TpmFacts out;
  STELE_TRY_VOID(Describe(connection, out));
  STELE_TRY_VOID(ReadState(connection, out));
  STELE_TRY(out.nv_certify, HasCommand(connection, TPM2_CC_NV_Certify));
  std::vector<NamedCommand> needed(std::begin(kNeeded), std::end(kNeeded));
  if (!out.nv_certify) needed.insert(needed.end(), std::begin(kNeededForAudit), std::end(kNeededForAudit));
  for (const NamedCommand& command : needed) {
    STELE_TRY(const bool has, HasCommand(connection, command.code));
    if (!has) out.missing_commands.emplace_back(command.name);
  }
  const struct {
    std::uint32_t handle;
    const char* what;
  } own[] = {{handles.ak, "the attestation key"},
             {handles.storage, "the storage key"},
             {handles.counter, "the anchor counter"},
             {handles.index, "the anchor index"}};
  for (const auto& one : own) {
    STELE_TRY(const bool has, HasHandle(connection, one.handle));
    if (has) out.present.push_back(WithHandle(one.what, one.handle));
  }
  STELE_TRY(out.ek_persisted, HasHandle(connection, handles.ek));
  STELE_TRY(out.ek_certificate, HasHandle(connection, kEkCertificateIndex));
  return out;
}

}  // namespace stele::tpm
