#include "tpm/seal.h"

#include <openssl/crypto.h>
#include <tss2/tss2_mu.h>

#include <cstring>

namespace stele::tpm {
namespace {

constexpr TPMA_OBJECT kSealedAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA;

TPM2B_PUBLIC SealedTemplate(const Hash& policy) {
  TPM2B_PUBLIC out{};
  TPMT_PUBLIC& area = out.publicArea;
  area.type = TPM2_ALG_KEYEDHASH;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = kSealedAttributes;
  area.authPolicy = DigestOf(policy);
  area.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  return out;
}

TPML_PCR_SELECTION TpmSelection(const PcrSelection& registers) {
  TPML_PCR_SELECTION out{};
  out.count = 1;
  out.pcrSelections[0].hash = TPM2_ALG_SHA256;
  out.pcrSelections[0].sizeofSelect = static_cast<std::uint8_t>(registers.size());
  std::memcpy(out.pcrSelections[0].pcrSelect, registers.data(), registers.size());
  return out;
}

Result<Hash> ReadRegister(Connection& connection, std::uint32_t number) {
  const TPML_PCR_SELECTION one = TpmSelection(SelectionOf(SealPolicy{{{number, Hash{}}}}));
  UINT32 update_counter = 0;
  TPML_PCR_SELECTION* raw_read = nullptr;
  TPML_DIGEST* raw_values = nullptr;
  const TSS2_RC rc = Esys_PCR_Read(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &one, &update_counter,
                                   &raw_read, &raw_values);
  const EsysPtr<TPML_PCR_SELECTION> read(raw_read);
  const EsysPtr<TPML_DIGEST> values(raw_values);
  STELE_TRY_VOID(connection.Check(rc, "read a PCR"));
  Hash value{};
  if (values->count != 1 || values->digests[0].size != value.size())
    return Fail(Code::kTpm, "read a PCR: not one SHA-256 value");
  std::memcpy(value.data(), values->digests[0].buffer, value.size());
  return value;
}

// "PCR 14 is 3f.. and must be 00..", for who has to mend it. Unauthenticated: it decides nothing.
std::string WhichDiffer(Connection& connection, const SealPolicy& policy) {
  std::string text;
  for (const auto& [number, wanted] : policy.registers) {
    const auto now = ReadRegister(connection, number);
    if (!now) continue;
    if (*now == wanted) continue;
    text += (text.empty() ? "PCR " : "; PCR ") + std::to_string(number) + " is " + HexOf(*now).substr(0, 16) +
            ".. and must be " + HexOf(wanted).substr(0, 16) + "..";
  }
  return text.empty() ? TextOf(policy) : text;
}

Result<void> UnsealFrom(Connection& connection, const Handles& handles, ByteView ek_name, const SealedSecret& sealed,
                        Hash& secret) {
  STELE_TRY(const Handle ek, OpenHandle(connection, handles.ek));
  STELE_TRY(const Bytes name, NameOf(connection, ek));
  if (!SameBytes(name, ek_name)) return Fail(Code::kDenied, "the TPM's endorsement key is not the pinned one");
  STELE_TRY(const Handle parent, OpenHandle(connection, handles.storage));
  STELE_TRY(const Handle object, LoadSealed(connection, parent, sealed.public_area, sealed.private_area));
  STELE_TRY(const Handle session, StartSession(connection, TPM2_SE_POLICY, ek.get(), SessionCipher::kAes128Cfb));
  const TPM2B_DIGEST expected = DigestOf(RegistersDigestOf(sealed.policy));
  const TPML_PCR_SELECTION selection = TpmSelection(SelectionOf(sealed.policy));
  const TSS2_RC policy =
      Esys_PolicyPCR(connection.esys(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &expected, &selection);
  if ((policy & ~(TPM2_RC_N_MASK | TPM2_RC_P)) == TPM2_RC_VALUE) {
    return Fail(Code::kDenied, "the seed stays sealed: " + WhichDiffer(connection, sealed.policy));
  }
  STELE_TRY_VOID(connection.Check(policy, "satisfy the seed's policy"));
  return UnsealLoaded(connection, object, session, secret);
}

}  // namespace

Result<Handle> LoadSealed(Connection& connection, const Handle& parent, ByteView public_area, ByteView private_area) {
  TPM2B_PUBLIC area{};
  TPM2B_PRIVATE hidden{};
  std::size_t offset = 0;
  const auto* at = reinterpret_cast<const std::uint8_t*>(public_area.data());
  if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(at, public_area.size(), &offset, &area) != TSS2_RC_SUCCESS) {
    return Fail(Code::kInvalid, "the sealed secret's public area is damaged");
  }
  offset = 0;
  at = reinterpret_cast<const std::uint8_t*>(private_area.data());
  if (Tss2_MU_TPM2B_PRIVATE_Unmarshal(at, private_area.size(), &offset, &hidden) != TSS2_RC_SUCCESS) {
    return Fail(Code::kInvalid, "the sealed secret's private area is damaged");
  }
  ESYS_TR loaded = ESYS_TR_NONE;
  STELE_TRY_VOID(connection.Check(
      Esys_Load(connection.esys(), parent.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &hidden, &area, &loaded),
      "load the sealed secret (of another TPM, or from before TPM2_Clear?)"));
  return Handle(connection, loaded, Handle::End::kFlush);
}

Result<void> UnsealLoaded(Connection& connection, const Handle& object, const Handle& session, Hash& secret) {
  STELE_TRY_VOID(Encrypting(connection, session, TPMA_SESSION_ENCRYPT));
  TPM2B_SENSITIVE_DATA* raw = nullptr;
  const TSS2_RC rc = Esys_Unseal(connection.esys(), object.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &raw);
  const EsysPtr<TPM2B_SENSITIVE_DATA> data(raw);
  STELE_TRY_VOID(connection.Check(rc, "unseal a secret"));
  const bool whole = data->size == secret.size();
  if (whole) std::memcpy(secret.data(), data->buffer, secret.size());
  OPENSSL_cleanse(data.get(), sizeof *data);
  if (!whole) return Fail(Code::kCorrupt, "the sealed secret is not of 32 bytes");
  return {};
}

Result<std::map<std::uint32_t, Hash>> ReadRegisterValues(Connection& connection,
                                                         const std::set<std::uint32_t>& registers) {
  std::map<std::uint32_t, Hash> out;
  for (const std::uint32_t number : registers) {
    STELE_TRY(out[number], ReadRegister(connection, number));
  }
  return out;
}

Result<std::map<std::uint32_t, Hash>> ReadRegisterValues(UniqueFd connection, const std::set<std::uint32_t>& registers,
                                                         int timeout_ms) {
  STELE_TRY(const auto opened, Connection::Open(std::move(connection), timeout_ms));
  return ReadRegisterValues(*opened, registers);
}

TPM2B_PUBLIC StorageTemplate() {
  TPM2B_PUBLIC out{};
  TPMT_PUBLIC& area = out.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                          TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_AES;
  ecc.symmetric.keyBits.aes = 128;
  ecc.symmetric.mode.aes = TPM2_ALG_CFB;
  ecc.scheme.scheme = TPM2_ALG_NULL;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  return out;
}

Result<SealedObject> CreateSealed(Connection& connection, const Handle& salt_key, const Handle& parent,
                                  const Hash& secret, const Hash& policy) {
  STELE_TRY(const Handle session, StartSession(connection, TPM2_SE_HMAC, salt_key.get(), SessionCipher::kAes128Cfb));
  STELE_TRY_VOID(Encrypting(connection, session, TPMA_SESSION_DECRYPT));
  TPM2B_SENSITIVE_CREATE sensitive{};
  sensitive.sensitive.data.size = static_cast<std::uint16_t>(secret.size());
  std::memcpy(sensitive.sensitive.data.buffer, secret.data(), secret.size());
  const TPM2B_PUBLIC area = SealedTemplate(policy);
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION pcrs{};
  TPM2B_PRIVATE* raw_private = nullptr;
  TPM2B_PUBLIC* raw_public = nullptr;
  const TSS2_RC rc = Esys_Create(connection.esys(), parent.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                                 &area, &outside, &pcrs, &raw_private, &raw_public, nullptr, nullptr, nullptr);
  OPENSSL_cleanse(&sensitive, sizeof sensitive);
  const EsysPtr<TPM2B_PRIVATE> hidden(raw_private);
  const EsysPtr<TPM2B_PUBLIC> made(raw_public);
  STELE_TRY_VOID(connection.Check(rc, "seal a secret"));
  SealedObject out;
  std::array<std::uint8_t, sizeof(TPM2B_PUBLIC) + sizeof(TPM2B_PRIVATE)> marshalled{};
  std::size_t size = 0;
  STELE_TRY_VOID(connection.Check(Tss2_MU_TPM2B_PUBLIC_Marshal(made.get(), marshalled.data(), marshalled.size(), &size),
                                  "seal a secret"));
  out.public_area = ToBytes(ViewOf(marshalled.data(), size));
  size = 0;
  STELE_TRY_VOID(connection.Check(
      Tss2_MU_TPM2B_PRIVATE_Marshal(hidden.get(), marshalled.data(), marshalled.size(), &size), "seal a secret"));
  out.private_area = ToBytes(ViewOf(marshalled.data(), size));
  return out;
}

Result<SealedSecret> Seal(Connection& connection, const Handle& ek, const Handle& parent, const Hash& secret,
                          const SealPolicy& policy) {
  STELE_TRY(SealedObject made, CreateSealed(connection, ek, parent, secret, PolicyDigestOf(policy)));
  SealedSecret out{policy, std::move(made.public_area), std::move(made.private_area)};
  STELE_TRY_VOID(CheckSealed(out));
  return out;
}

Result<void> Unseal(UniqueFd connection, const Handles& handles, ByteView ek_name, const SealedSecret& sealed,
                    int timeout_ms, Hash& secret) {
  STELE_TRY(const auto opened, Connection::Open(std::move(connection), timeout_ms));
  return UnsealFrom(*opened, handles, ek_name, sealed, secret);
}

}  // namespace stele::tpm
