// Names and policies of TPM objects computed from bytes alone (TPM 2.0 Library, Part 1 section 16; tpm/names.h): a Name binds
// attributes and write policy, so it proves that a register was guarded. Big-endian throughout.
import { type Bytes, Malformed, concat, equal, fromHex, sha256, toHex } from '../bytes.js';
import { pemToDer } from '../attest.js';

const ALG_SHA256 = 0x000b;
const ALG_NULL = 0x0010;
const ALG_ECDSA = 0x0018;
const ALG_ECC = 0x0023;
const CURVE_P256 = 0x0003;
const POLICY_SIGNED = 0x160;
const POLICY_OR = 0x171;
const POLICY_NV_WRITTEN = 0x18f;
const ENDORSEMENT_HIERARCHY = 0x4000000b;
// fixedTPM | fixedParent | sensitiveDataOrigin | userWithAuth | noDA | restricted | sign
const AK_ATTRIBUTES = (1 << 1) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 10) | (1 << 16) | (1 << 18);
// policywrite | authread | no_da | written, and the type: counter or extend
const NV_ATTRIBUTES = (1 << 3) | (1 << 18) | (1 << 25) | (1 << 29);
const NV_COUNTER = 1 << 4;
const NV_EXTEND = 4 << 4;
// SubjectPublicKeyInfo of an uncompressed P-256 point, up to the point (RFC 5480).
const SPKI_P256 = fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004');

export const big = (value: number, length: number): Bytes =>
  Uint8Array.from({ length }, (_, i) => Math.floor(value / 2 ** (8 * (length - 1 - i))) % 256);
const sized = (bytes: Uint8Array): Bytes => concat(big(bytes.length, 2), bytes);

/** x || y, 64 bytes, of a PEM P-256 public key. */
export function pointOf(pem: string): Bytes {
  const der = pemToDer(pem);
  if (der.length !== SPKI_P256.length + 64 || !equal(der.slice(0, SPKI_P256.length), SPKI_P256)) {
    throw new Malformed('not an uncompressed P-256 public key');
  }
  return der.slice(SPKI_P256.length);
}

export const nameOfPublicArea = async (area: Uint8Array): Promise<Bytes> => concat(big(ALG_SHA256, 2), await sha256(area));

/** Of the attestation key, child of a primary endorsement key. */
export async function qualifiedNameOf(ekName: Bytes, akName: Bytes): Promise<Bytes> {
  const primary = await nameOfPublicArea(concat(big(ENDORSEMENT_HIERARCHY, 4), ekName));
  return nameOfPublicArea(concat(primary, akName));
}

async function writePolicyOf(keyPem: string): Promise<Bytes> {
  const point = pointOf(keyPem);
  const key = concat(
    big(ALG_ECC, 2), big(ALG_SHA256, 2), big((1 << 6) | (1 << 18), 4), big(0, 2), big(ALG_NULL, 2), big(ALG_NULL, 2),
    big(CURVE_P256, 2), big(ALG_NULL, 2), sized(point.slice(0, 32)), sized(point.slice(32)));
  const zero = new Uint8Array(32);
  const nvWritten = (written: number): Promise<Bytes> => sha256(zero, big(POLICY_NV_WRITTEN, 4), big(written, 1));
  const byKey = await sha256(await nvWritten(0), big(POLICY_SIGNED, 4), await nameOfPublicArea(key));
  return sha256(zero, big(POLICY_OR, 4), await nvWritten(1), await sha256(byKey));
}

/** The Names that counter and index have once written, guarded by this provisioning key. */
export async function writtenNames(
  counterHandle: number, indexHandle: number, keyPem: string): Promise<{ counter: Bytes; index: Bytes }> {
  const policy = await writePolicyOf(keyPem);
  const name = (handle: number, type: number, size: number): Promise<Bytes> => nameOfPublicArea(
    concat(big(handle, 4), big(ALG_SHA256, 2), big(NV_ATTRIBUTES | type, 4), sized(policy), big(size, 2)));
  return { counter: await name(counterHandle, NV_COUNTER, 8), index: await name(indexHandle, NV_EXTEND, 32) };
}

/** TPM2B_PUBLIC of exactly the attestation key that provisioning makes: a restricted P-256 signing key. */
export async function parseAttestationKey(tpm2b: Bytes): Promise<{ name: Bytes; point: Bytes }> {
  const head = concat(
    big(ALG_ECC, 2), big(ALG_SHA256, 2), big(AK_ATTRIBUTES, 4), big(0, 2), big(ALG_NULL, 2), big(ALG_ECDSA, 2),
    big(ALG_SHA256, 2), big(CURVE_P256, 2), big(ALG_NULL, 2));
  const area = tpm2b.slice(2);
  const at = head.length;
  const expected = concat(head, sized(area.slice(at + 2, at + 34)), sized(area.slice(at + 36, at + 68)));
  if (expected.length !== head.length + 68 || !equal(tpm2b, sized(expected))) {
    throw new Malformed('not an attestation key of ours: a restricted ECDSA P-256 signing key is expected');
  }
  return { name: await nameOfPublicArea(area), point: concat(area.slice(at + 2, at + 34), area.slice(at + 36, at + 68)) };
}

/** The registers of every quote of ours, ascending. */
export const quotedRegisters = (anchorPcr: number): number[] =>
  [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12, anchorPcr].sort((a, b) => a - b);

/** The values as `tpm2_quote -o` writes them: TPML_PCR_SELECTION of 16 banks, then lists of 8 digests, little-endian. */
export function toolPcrBlob(registers: number[], values: Bytes[]): Bytes {
  const little = (value: number, length: number): Bytes => big(value, length).reverse();
  const bitmap = new Uint8Array(3);
  for (const pcr of registers) bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  const lists = Math.ceil(values.length / 8);
  const parts = [little(1, 4), little(ALG_SHA256, 2), little(3, 1), bitmap, new Uint8Array(4 + 16 * 8 - 10), little(lists, 4)];
  for (let list = 0; list < lists; list++) {
    const some = values.slice(8 * list, 8 * list + 8);
    parts.push(little(some.length, 4));
    for (let i = 0; i < 8; i++) {
      const value = some[i] ?? new Uint8Array();
      parts.push(little(value.length, 2), value, new Uint8Array(64 - value.length));
    }
  }
  return concat(...parts);
}

/** r || s -> DER ECDSA-Sig-Value, the one form it has. */
export function derOf(signature: Bytes): Bytes {
  const integer = (half: Bytes): Bytes => {
    const first = half.findIndex((byte) => byte !== 0);
    const digits = first < 0 ? new Uint8Array(1) : half.slice(first);
    const value = (digits[0] ?? 0) >= 0x80 ? concat(new Uint8Array(1), digits) : digits;
    return concat(big(2, 1), big(value.length, 1), value);
  };
  const body = concat(integer(signature.slice(0, 32)), integer(signature.slice(32)));
  return concat(big(0x30, 1), big(body.length, 1), body);
}

/** DER ECDSA-Sig-Value of P-256 -> r || s. */
export function parseDerSignature(der: Bytes): Bytes {
  const out = new Uint8Array(64);
  let at = 2;
  for (const half of [0, 32]) {
    const length = der[at + 1] ?? 0;
    const digits = der.slice(at + 2, at + 2 + length);
    const value = digits.length === 33 && digits[0] === 0 ? digits.slice(1) : digits;
    if (value.length > 32) throw new Malformed('the signature is not two P-256 scalars');
    out.set(value, half + 32 - value.length);
    at += 2 + length;
  }
  if (toHex(derOf(out)) !== toHex(der)) throw new Malformed('the signature is not DER');
  return out;
}
