// C2SP signed-note and tlog-checkpoint.
//
//   note       := text "\n" signature+            text ends in "\n"; the last empty line separates the two
//   signature  := "— " name " " base64(key id[4] || Ed25519 signature[64]) "\n"
//   text       := origin "\n" size "\n" base64(root[32]) "\n" extension*
//   vkey       := name "+" hex(key id) "+" base64(0x01 || public key[32])
//   key id     := SHA-256(name || "\n" || 0x01 || public key)[0..4)
import { type Bytes, Malformed, concat, equal, fromBase64, fromHex, sha256, toHex, utf8 } from './bytes.js';

export const ED25519 = 0x01;
export const COSIGNER = 0x04;    // c2sp.org/tlog-cosignature, Ed25519
const NOTE_BYTES_MAX = 64 * 1024;

export interface VerifierKey { name: string; id: Bytes; publicKey: Bytes }
export interface NoteSignature { name: string; id: Bytes; signature: Bytes }
export interface Note { text: string; signatures: NoteSignature[] }
export interface Checkpoint { origin: string; size: number; root: Bytes; extensions: string[] }

/** Throws Malformed unless the key is of this type and its id is the one the name and the key give. */
export async function parseVerifierKey(vkey: string, type = ED25519): Promise<VerifierKey> {
  const match = /^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(vkey);
  if (match === null) throw new Malformed('not a verifier key');
  const [, name = '', id = '', key = ''] = match;
  const blob = fromBase64(key);
  if (blob.length !== 33 || blob[0] !== type) throw new Malformed('not an Ed25519 verifier key');
  const expected = (await sha256(utf8(`${name}\n`), blob)).slice(0, 4);
  if (!equal(expected, fromHex(id))) throw new Malformed('the key id is not that of this name and key');
  return { name, id: expected, publicKey: blob.slice(1) };
}

export function parseNote(note: string): Note {
  if (note.length > NOTE_BYTES_MAX) throw new Malformed('the note is too long');
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note) || /[\ud800-\udfff]/u.test(note)) {
    throw new Malformed('the note holds a control character');
  }
  const split = note.lastIndexOf('\n\n');
  if (split < 0 || !note.endsWith('\n')) throw new Malformed('the note has no signature part');
  const text = note.slice(0, split + 1);
  const lines = note.slice(split + 2, -1).split('\n');
  const signatures = lines.map((line) => {
    const match = /^\u2014 ([^ +]+) ([A-Za-z0-9+/=]+)$/.exec(line);
    if (match === null) throw new Malformed('a signature line is malformed');
    const [, name = '', encoded = ''] = match;
    const blob = fromBase64(encoded);
    if (blob.length < 5) throw new Malformed('a signature is too short');
    return { name, id: blob.slice(0, 4), signature: blob.slice(4) };
  });
  return { text, signatures };
}

export function parseCheckpoint(text: string): Checkpoint {
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.length < 3) throw new Malformed('the checkpoint has too few lines');
  const [origin = '', sizeText = '', rootText = '', ...extensions] = lines;
  if (origin === '') throw new Malformed('the checkpoint has no origin');
  if (!/^(0|[1-9][0-9]{0,15})$/.test(sizeText)) throw new Malformed('the size is not a decimal number');
  const size = Number(sizeText);
  if (!Number.isSafeInteger(size)) throw new Malformed('the size is too large');
  const root = fromBase64(rootText);
  if (root.length !== 32) throw new Malformed('the root is not 32 bytes');
  if (extensions.some((line) => line === '')) throw new Malformed('an extension line is empty');
  return { origin, size, root, extensions };
}

export async function verifyEd25519(publicKey: Bytes, signature: Bytes, message: Bytes): Promise<boolean> {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  const key = await crypto.subtle.importKey('raw', publicKey, { name: 'Ed25519' }, false, ['verify']);
  return crypto.subtle.verify({ name: 'Ed25519' }, key, signature, message);
}

/** The signed text, if a line of exactly this key (name and id) verifies over it; otherwise throws Malformed. */
export async function openNote(note: string, key: VerifierKey): Promise<string> {
  const { text, signatures } = parseNote(note);
  const own = signatures.filter((s) => s.name === key.name && equal(s.id, key.id));
  if (own.length === 0) throw new Malformed('the note carries no signature of the pinned log key');
  for (const line of own) {
    if (!(await verifyEd25519(key.publicKey, line.signature, utf8(text)))) {
      throw new Malformed('the signature of the log key does not verify');
    }
  }
  return text;
}

/** The checkpoint's digest, as the TPM extends it: SHA-256 over text, empty line and the log's own signature line. */
export async function noteDigest(note: string, keyName: string): Promise<Bytes> {
  const split = note.lastIndexOf('\n\n');
  const own = note.slice(split + 2).split('\n').find((line) => line.startsWith(`\u2014 ${keyName} `));
  return sha256(utf8(`${note.slice(0, split + 2)}${own ?? ''}\n`));
}

/** Sixteen bytes of SHA-256(vkey) as eight pronounceable words, as the appliance's own console writes them. */
export async function keyWords(vkey: string): Promise<string> {
  const consonants = 'bdfghjklmnprstvz';
  const vowels = 'aiou';
  const hash = await sha256(utf8(vkey));
  const words: string[] = [];
  for (let i = 0; i < 16; i += 2) {
    const bits = (hash[i] ?? 0) * 256 + (hash[i + 1] ?? 0);
    const c = (shift: number): string => consonants.charAt((bits >> shift) & 15);
    const v = (shift: number): string => vowels.charAt((bits >> shift) & 3);
    words.push(c(12) + v(10) + c(6) + v(4) + c(0));
  }
  return words.join(' ');
}

/** Reads well aloud and compares well: groups of four hexadecimal digits. */
export async function keyFingerprint(publicKey: Uint8Array): Promise<string> {
  return (toHex(await sha256(concat(publicKey))).match(/.{4}/g) ?? []).slice(0, 8).join(' ');
}
