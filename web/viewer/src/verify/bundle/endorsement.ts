// The Name an RSA 2048 endorsement key has in the TCG template L-1, from its certificate (X.509, DER). Only the public key is
// read: no chain, no validity. Those need `stele audit --ek-root`, and the report says so.
import { type Bytes, Malformed, concat, equal, fromHex } from '../bytes.js';
import { big, nameOfPublicArea } from './tpm_names.js';

const RSA_ENCRYPTION = fromHex('06092a864886f70d010101');
const POLICY_A = fromHex('837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa');
const KEY_BYTES = 256;
const SEQUENCE = 0x30;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const VERSION = 0xa0;

interface Element { tag: number; content: Bytes; raw: Bytes }

/** The DER elements that make up these bytes, at most `max` of them; definite lengths up to 65,535. */
function elements(bytes: Bytes, max: number): Element[] {
  const out: Element[] = [];
  let at = 0;
  while (at < bytes.length && out.length < max) {
    const begin = at;
    const tag = bytes[at] ?? 0;
    let length = bytes[at + 1] ?? 0x80;
    at += 2;
    if (length >= 0x80) {
      const digits = length - 0x80;
      if (digits < 1 || digits > 2) throw new Malformed('the certificate is not DER');
      length = 0;
      for (let i = 0; i < digits; i++) length = length * 256 + (bytes[at + i] ?? 0);
      at += digits;
    }
    if (at + length > bytes.length) throw new Malformed('the certificate is cut short');
    out.push({ tag, content: bytes.slice(at, at + length), raw: bytes.slice(begin, at + length) });
    at += length;
  }
  return out;
}

function sequence(element: Element | undefined, max: number): Element[] {
  if (element?.tag !== SEQUENCE) throw new Malformed('the certificate is not X.509');
  return elements(element.content, max);
}

/** TPM2B_NAME contents of the EK this certificate is for. */
export async function ekNameOf(certificate: Bytes): Promise<Bytes> {
  const [body] = sequence(elements(certificate, 1)[0], 3);
  const fields = sequence(body, 16);
  if (fields[0]?.tag === VERSION) fields.shift();
  // serial number, signature algorithm, issuer, validity, subject, subjectPublicKeyInfo
  const [algorithm, key] = sequence(fields[5], 2);
  const [oid] = sequence(algorithm, 2);
  if (oid === undefined || !equal(oid.raw, RSA_ENCRYPTION) || key?.tag !== BIT_STRING || key.content[0] !== 0) {
    throw new Malformed('the EK certificate does not hold an RSA key');
  }
  const [modulus] = sequence(elements(key.content.slice(1), 1)[0], 2);
  const digits = modulus?.content ?? new Uint8Array();
  if (modulus?.tag !== INTEGER || digits.length !== KEY_BYTES + 1 || digits[0] !== 0 || (digits[1] ?? 0) < 0x80) {
    throw new Malformed("the EK certificate's RSA key is not of 2048 bits");
  }
  // TPMT_PUBLIC: RSA, SHA-256, fixedTPM | fixedParent | sensitiveDataOrigin | adminWithPolicy | restricted | decrypt, PolicyA,
  // AES-128-CFB, no scheme, 2048 bits, default exponent.
  return nameOfPublicArea(concat(
    big(0x0001, 2), big(0x000b, 2), big(0x000300b2, 4), big(32, 2), POLICY_A, big(0x0006, 2), big(128, 2), big(0x0043, 2),
    big(0x0010, 2), big(2048, 2), big(0, 4), big(KEY_BYTES, 2), digits.slice(1)));
}
