// TPMS_ATTEST (TPM 2.0 Part 2, 10.12.12) and TPMT_SIGNATURE (11.3.4), big-endian. Parsed field by field, never by offset:
// the lengths of the signer's name and of the nonce move what follows. Nothing may be left over.
import { type Bytes, Malformed, equal, fromBase64, fromHex, sha256, toHex } from './bytes.js';

const MAGIC = 0xff544347;
const ST_ATTEST_QUOTE = 0x8018;
const ST_ATTEST_NV = 0x8014;
const ST_ATTEST_SESSION_AUDIT = 0x8016;
const ALG_SHA256 = 0x000b;
const ALG_ECDSA = 0x0018;

/** One parsed field, for the screen that shows the structure beside its bytes. */
export interface Field { offset: number; length: number; name: string; value: string }

export interface PcrSelection { hash: number; pcrs: number[] }

export interface Attest {
  type: 'quote' | 'nv' | 'audit';
  signer: Bytes;
  extraData: Bytes;
  clockMs: bigint;
  resetCount: number;
  restartCount: number;
  safe: boolean;
  firmware: bigint;
  pcrs: PcrSelection[];      // quote
  pcrDigest: Bytes;          // quote
  nvName: Bytes;             // nv; of an audited read: once openAuditedRead() has found it right
  nvOffset: number;          // nv
  nvContents: Bytes;         // nv; the same
  exclusive: boolean;        // audit: no other command since the session's first one
  sessionDigest: Bytes;      // audit
  fields: Field[];
}

class Reader {
  private at = 0;
  readonly fields: Field[] = [];
  constructor(private readonly bytes: Bytes) {}

  private take(length: number): Bytes {
    if (this.at + length > this.bytes.length) throw new Malformed('the structure ends early');
    this.at += length;
    return this.bytes.slice(this.at - length, this.at);
  }

  private note(name: string, length: number, value: string): void {
    this.fields.push({ offset: this.at - length, length, name, value });
  }

  number(name: string, length: number, show: (n: bigint) => string = String): bigint {
    let value = 0n;
    for (const byte of this.take(length)) value = value * 256n + BigInt(byte);
    this.note(name, length, show(value));
    return value;
  }

  small(name: string, length: number, show?: (n: bigint) => string): number {
    return Number(this.number(name, length, show));
  }

  raw(name: string, length: number): Bytes {
    const value = this.take(length);
    this.note(name, length, toHex(value));
    return value;
  }

  sized(name: string): Bytes {
    return this.raw(name, this.small(`${name} length`, 2));
  }

  end(): void {
    if (this.at !== this.bytes.length) throw new Malformed('bytes are left over after the structure');
  }
}

const hex = (digits: number) => (n: bigint): string => `0x${n.toString(16).padStart(digits, '0')}`;

function readPcrs(reader: Reader): PcrSelection[] {
  const count = reader.small('PCR selections', 4);
  if (count > 16) throw new Malformed('too many PCR selections');
  const out: PcrSelection[] = [];
  for (let i = 0; i < count; i++) {
    const hash = reader.small('bank', 2, hex(4));
    const bitmap = reader.raw('PCR bitmap', reader.small('bitmap length', 1));
    const pcrs: number[] = [];
    bitmap.forEach((byte, n) => {
      for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) !== 0) pcrs.push(8 * n + bit);
    });
    out.push({ hash, pcrs });
  }
  return out;
}

export function parseAttest(bytes: Bytes): Attest {
  const reader = new Reader(bytes);
  if (reader.small('magic', 4, hex(8)) !== MAGIC) throw new Malformed('the magic is not TPM_GENERATED');
  const type = reader.small('type', 2, hex(4));
  const kind = ({ [ST_ATTEST_QUOTE]: 'quote', [ST_ATTEST_NV]: 'nv', [ST_ATTEST_SESSION_AUDIT]: 'audit' } as const)[type];
  if (kind === undefined) throw new Malformed('neither a quote nor an NV certification nor a session audit');
  const attest: Attest = {
    type: kind,
    signer: reader.sized('qualified signer'),
    extraData: reader.sized('qualifying data'),
    clockMs: reader.number('clock (ms)', 8),
    resetCount: reader.small('reset count', 4),
    restartCount: reader.small('restart count', 4),
    safe: false,
    firmware: 0n,
    pcrs: [],
    pcrDigest: new Uint8Array(),
    nvName: new Uint8Array(),
    nvOffset: 0,
    nvContents: new Uint8Array(),
    exclusive: false,
    sessionDigest: new Uint8Array(),
    fields: reader.fields,
  };
  const safe = reader.small('clock safe', 1);
  if (safe > 1) throw new Malformed('the safe flag is neither 0 nor 1');
  attest.safe = safe === 1;
  attest.firmware = reader.number('firmware version', 8, hex(16));
  if (attest.type === 'quote') {
    attest.pcrs = readPcrs(reader);
    attest.pcrDigest = reader.sized('PCR digest');
  } else if (attest.type === 'audit') {
    const exclusive = reader.small('session exclusive', 1);
    if (exclusive > 1) throw new Malformed('the exclusive flag is neither 0 nor 1');
    attest.exclusive = exclusive === 1;
    attest.sessionDigest = reader.sized('session digest');
  } else {
    attest.nvName = reader.sized('NV index name');
    attest.nvOffset = reader.small('NV offset', 2);
    attest.nvContents = reader.sized('NV contents');
  }
  reader.end();
  return attest;
}

const NV_READ = '0000014e';

/**
 * The digest of a session whose one command was the whole read of an NV index by its own authorisation: H(0^32 || H(code ||
 * Name || Name || size || offset) || H(success || code || contents)) (TPM 2.0 Part 1, 16.7, 16.8 and 32.3).
 */
export async function auditedReadDigest(name: Bytes, contents: Bytes): Promise<Bytes> {
  const size = fromHex(contents.length.toString(16).padStart(4, '0'));
  const asked = await sha256(fromHex(NV_READ), name, name, size, fromHex('0000'));
  const answered = await sha256(fromHex('00000000'), fromHex(NV_READ), size, contents);
  return sha256(new Uint8Array(32), asked, answered);
}

/**
 * On TPMs without NV_Certify an anchor's register is read in an audited session: what was read is told, its digest is signed.
 * Gives the attestation as an NV certification of `contents`. Not exclusive: the value may have changed since it was read.
 */
export async function openAuditedRead(attest: Attest, contents: Bytes, name: Bytes): Promise<Attest> {
  if (attest.type !== 'audit' || !equal(attest.sessionDigest, await auditedReadDigest(name, contents))) {
    throw new Malformed('the audited session was not a read of this value from the pinned NV index');
  }
  if (!attest.exclusive) throw new Malformed('other commands ran since the audited read, so the value may be an old one');
  return { ...attest, type: 'nv', nvName: name, nvContents: contents };
}

/** TPMT_SIGNATURE, ECDSA with SHA-256 -> r || s (IEEE P1363). r and s may come shorter than 32 bytes: pad on the left. */
export function parseEcdsaSignature(bytes: Bytes): Bytes {
  const reader = new Reader(bytes);
  if (reader.small('scheme', 2, hex(4)) !== ALG_ECDSA) throw new Malformed('the signature is not ECDSA');
  if (reader.small('hash', 2, hex(4)) !== ALG_SHA256) throw new Malformed('the signature is not over SHA-256');
  const out = new Uint8Array(64);
  for (const half of [0, 32]) {
    const value = reader.sized('integer');
    if (value.length === 0 || value.length > 32) throw new Malformed('an integer of the signature is not 1 to 32 bytes');
    out.set(value, half + 32 - value.length);
  }
  reader.end();
  return out;
}

/** A PEM SubjectPublicKeyInfo -> its DER. */
export function pemToDer(pem: string): Bytes {
  const match = /^\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*$/.exec(pem);
  if (match === null) throw new Malformed('not a PEM public key');
  return fromBase64((match[1] ?? '').replace(/\s+/g, ''));
}

export async function verifyAttestSignature(akPem: string, attest: Bytes, signature: Bytes): Promise<boolean> {
  const key = await crypto.subtle.importKey(
    'spki', pemToDer(akPem), { name: 'ECDSA', namedCurve: 'P-256' }, false, ['verify']);
  return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, parseEcdsaSignature(signature), attest);
}

/**
 * The value of register `pcr` inside a quote: `values` are those of all selected registers, ascending. Undefined when the
 * quote does not cover the register, or the values are not those the TPM digested.
 */
export async function quotedValue(attest: Attest, values: Bytes[], pcr: number): Promise<Bytes | undefined> {
  const [selection, ...others] = attest.pcrs;
  if (attest.type !== 'quote' || selection === undefined || others.length !== 0) return undefined;
  if (selection.hash !== ALG_SHA256 || selection.pcrs.length !== values.length) return undefined;
  if (!equal(attest.pcrDigest, await sha256(...values))) return undefined;
  return values[selection.pcrs.indexOf(pcr)];
}
