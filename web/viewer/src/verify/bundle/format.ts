// The members of a bundle, their order and bounds, and the objects in them (docs/format.md, "Evidence bundle").
import { type Bytes, Malformed, fromHex } from '../bytes.js';
import { ENTRY_BYTES } from '../entry.js';
import { type EpochClaim, decodeClaim } from './epochs.js';
import { Members } from './members.js';

export const FOLDER = 'evidence/';
const KIB = 1024;
const MIB = 1024 * KIB;
export const CHUNK_RECORDS = 16384;
export const MARKS_MAX = 1024;
export const PROOFS_MAX = 64;
export const SALT_BYTES = 16;
export const PEER_BYTES = 18;

// Those that come once, in their order: bound, and whether one may be absent.
const ONCE: [name: string, bytesMax: number, optional?: true][] = [
  ['README', 64 * KIB], ['bundle.json', 64 * KIB], ['provisioning/record.json', 256 * KIB], ['provisioning/record.sig', KIB],
  ['provisioning/key.pem', 4 * KIB], ['provisioning/epochs.json', 16 * MIB, true], ['tpm/ak.pem', 4 * KIB], ['tpm/ak.tpm2b', 4 * KIB], ['tpm/ek.der', 16 * KIB, true],
  ['tpm/ek-chain.pem', 64 * KIB, true], ['log.vkey', KIB], ['checkpoint', 64 * KIB], ['attest.json', 64 * KIB],
  ['quote.attest', 4 * KIB], ['quote.signature', 4 * KIB], ['quote.der', 4 * KIB], ['quote.pcrs', 4 * KIB],
  ['quote.pcrs.tpm2-tools', 16 * KIB], ['counter.attest', 4 * KIB], ['counter.signature', 4 * KIB], ['counter.der', 4 * KIB],
  ['index.attest', 4 * KIB], ['index.signature', 4 * KIB], ['index.der', 4 * KIB], ['receipt.json', 64 * KIB, true],
  ['receipt-before.json', 64 * KIB, true], ['anchors.cel', 16 * MIB], ['checkpoints.tcg', 64 * MIB],
  ['checkpoints.cel', 64 * MIB], ['boot.tcg', 4 * MIB, true], ['witnesses/cosigned.note', 64 * KIB, true],
  ['witnesses/policy', 256 * KIB, true]];

export const CHUNK_PARTS = ['entries', 'tree', 'salts', 'peers', 'payloads'] as const;
export type ChunkPart = (typeof CHUNK_PARTS)[number];
const CHUNK_BOUNDS: Record<ChunkPart, number> = {
  entries: CHUNK_RECORDS * ENTRY_BYTES,
  tree: (CHUNK_RECORDS + MARKS_MAX + 1) * 2 * 53 * 32,
  salts: CHUNK_RECORDS * SALT_BYTES,
  peers: CHUNK_RECORDS * PEER_BYTES,
  payloads: 64 * MIB,
};

export type Member = { name: string; bytesMax: number; place: [group: number, number: number, part: number] } & (
  { kind: 'once' | 'end' | 'page' | 'manifest' } | { kind: 'proof'; sequence: number } |
  { kind: 'chunk'; chunk: number; part: ChunkPart });

export const REQUIRED = ONCE.filter((row) => row[2] === undefined).map((row) => row[0]);

/** The member of this name (without the folder), or undefined where a bundle has no such place. */
export function parseName(name: string): Member | undefined {
  const group = ONCE.length;
  const row = ONCE.findIndex((one) => one[0] === name);
  if (row >= 0) return { kind: 'once', name, bytesMax: ONCE[row]?.[1] ?? 0, place: [row, 0, 0] };
  const proof = /^proofs\/(0|[1-9][0-9]{0,15})\.tlog-proof$/.exec(name);
  if (proof !== null) {
    const sequence = Number(proof[1]);
    return Number.isSafeInteger(sequence) ? { kind: 'proof', name, bytesMax: 64 * KIB, sequence, place: [group, sequence, 0] } : undefined;
  }
  const chunk = /^records\/([0-9]{6})\.(entries|tree|salts|peers|payloads)$/.exec(name);
  if (chunk !== null) {
    const part = chunk[2] as ChunkPart;
    const number = Number(chunk[1]);
    return { kind: 'chunk', name, bytesMax: CHUNK_BOUNDS[part], chunk: number, part, place: [group + 1, number, CHUNK_PARTS.indexOf(part)] };
  }
  if (name === 'records/end.tree') return { kind: 'end', name, bytesMax: MIB, place: [group + 2, 0, 0] };
  if (name === 'verify.html') return { kind: 'page', name, bytesMax: 4 * MIB, place: [group + 3, 0, 0] };
  if (name === 'manifest.json') return { kind: 'manifest', name, bytesMax: 4 * MIB, place: [group + 4, 0, 0] };
  return undefined;
}

export function comesBefore(a: Member, b: Member): boolean {
  for (let i = 0; i < 3; i++) {
    const difference = (a.place[i] ?? 0) - (b.place[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

export interface BundleInfo {
  logId: Bytes;
  origin: string;
  nonce: Bytes;
  createdNs: number;
  software: string;
  selectionKind: string;
  selectionText: string;
  limited: boolean;
  records: number;
  payloads: boolean;
  logSize: number;
  marks: number[];
  anchorsFirst: number;
  anchorsCount: number;
  pcrFromBaseline: boolean;
  pcrEvents: number;
}

export function decodeBundleInfo(text: string): BundleInfo {
  const object = Members.parse('bundle.json', text);
  if (object.text('bundle') !== 'stele') object.bad('bundle');
  if (object.number('version') !== 1) object.bad('version');
  const selection = object.child('selection');
  const anchors = object.child('anchors');
  const pcrLog = object.child('pcr_log');
  const marks: number[] = [];
  for (const mark of object.list('marks', MARKS_MAX)) {
    if (typeof mark !== 'number' || !Number.isSafeInteger(mark) || mark <= (marks.at(-1) ?? 0)) object.bad('marks');
    marks.push(mark as number);
  }
  pcrLog.number('pcr', 23);
  return {
    logId: object.hash('log_id'), origin: object.text('origin'), nonce: object.hash('nonce'),
    createdNs: object.nanoseconds('created_ns'), software: object.text('software'),
    selectionKind: selection.text('kind'), selectionText: selection.text('text'),
    limited: object.either('scope', 'limited', 'all'), records: object.number('records'), payloads: object.boolean('payloads'),
    logSize: object.number('log_size'), marks, anchorsFirst: anchors.number('first'), anchorsCount: anchors.number('count'),
    pcrFromBaseline: pcrLog.either('start', 'baseline', 'receipt'), pcrEvents: pcrLog.number('events'),
  };
}

/** contents: only of an audited read, on TPMs without NV_Certify. */
export interface Attestation { attest: Bytes; signature: Bytes; pcrValues: Bytes[]; contents: Bytes | undefined }

const ATTESTATION_BYTES_MAX = 4096;

function attestationOf(object: Members, name: string): Attestation {
  const child = object.child(name);
  const attest = child.base64('attest_b64');
  const signature = child.base64('signature_b64');
  if (attest.length > ATTESTATION_BYTES_MAX || signature.length > ATTESTATION_BYTES_MAX) object.bad(name);
  const pcrValues = !child.has('pcr_values') ? [] : child.list('pcr_values', 24).map((value) => {
    const bytes = typeof value === 'string' && value.length === 64 ? fromHex(value) : undefined;
    return bytes ?? child.bad('pcr_values');
  });
  const contents = child.has('contents_b64') ? child.base64('contents_b64') : undefined;
  if (contents !== undefined && (contents.length === 0 || contents.length > ATTESTATION_BYTES_MAX)) object.bad(name);
  return { attest, signature, pcrValues, contents };
}

// Absent in epoch 0.
const epochIn = (object: Members): number => (object.has('epoch') ? object.number('epoch') : 0);

export interface Audit {
  logId: Bytes;
  origin: string;
  nonce: Bytes;
  anchor: number;
  digest: Bytes;
  wallNs: number;
  epoch: number;
  demand: string;
  demandText: string;
  quote: Attestation;
  certifyCounter: Attestation;
  certifyIndex: Attestation;
}

export function decodeAudit(text: string): Audit {
  const object = Members.parse('attest.json', text);
  for (const name of ['counter', 'clock_ms']) object.number(name);
  for (const name of ['pcr', 'reset_count', 'restart_count']) object.number(name, 0xffffffff);
  object.text('checkpoint');
  object.hash('index');
  return {
    logId: object.hash('log_id'), origin: object.text('origin'), nonce: object.hash('nonce'), anchor: object.number('anchor'),
    digest: object.hash('digest'), epoch: epochIn(object), wallNs: object.nanoseconds('wall_ns'), demand: object.text('demand'), demandText: object.text('demand_text'),
    quote: attestationOf(object, 'quote'), certifyCounter: attestationOf(object, 'certify_counter'),
    certifyIndex: attestationOf(object, 'certify_index'),
  };
}

export interface Receipt {
  epoch: number;
  number: number;
  size: number;
  digest: Bytes;
  pcr: Bytes;
  index: Bytes;
  counter: number;
  resetCount: number;
  quote: Attestation;
  certifyCounter: Attestation;
  certifyIndex: Attestation;
}

export function decodeReceipt(text: string): Receipt {
  const object = Members.parse('receipt', text);
  object.boolean('late');
  object.number('restart_count', 0xffffffff);
  object.number('clock_ms');
  object.nanoseconds('wall_ns');
  return {
    number: object.number('number'), size: object.number('size'), digest: object.hash('digest'), pcr: object.hash('pcr'),
    epoch: epochIn(object), index: object.hash('index'), counter: object.number('counter'), resetCount: object.number('reset_count', 0xffffffff),
    quote: attestationOf(object, 'quote'), certifyCounter: attestationOf(object, 'certify_counter'),
    certifyIndex: attestationOf(object, 'certify_index'),
  };
}

/** The members of the provisioning record that the checks need (docs/entries.md, `genesis`). */
export interface ProvisioningRecord {
  createdNs: number;
  ekCertificate: Bytes;
  ekName: Bytes;
  akName: Bytes;
  akPem: string;
  akPublic: Bytes;
  counterName: Bytes;
  indexName: Bytes;
  counterStart: number;
  indexStart: Bytes;
  pcr: number;
  resetCount: number;
  softwareTpm: boolean;
  counterHandle: number;
  indexHandle: number;
  checkpointKey: Bytes;
  pcrBaseline: Bytes;
  origin: string;
  epoch?: EpochClaim;
}

export function decodeRecord(text: string): ProvisioningRecord {
  const object = Members.parse('provisioning record', text);
  if (object.text('log') !== 'stele' || object.number('version') !== 1) {
    throw new Malformed('provisioning record: not of a stele log, version 1');
  }
  const handles = object.child('handles');
  return {
    createdNs: object.nanoseconds('created_ns'), ekCertificate: object.base64('ek_certificate_b64'), ekName: object.hex('ek_name'),
    akName: object.hex('ak_name'), akPem: object.text('ak_public_pem'), akPublic: object.base64('ak_public_b64'),
    counterName: object.hex('counter_name'), indexName: object.hex('index_name'), counterStart: object.number('counter_start'),
    indexStart: object.hash('index_start'), pcr: object.number('pcr', 23), resetCount: object.number('reset_count', 0xffffffff),
    softwareTpm: object.boolean('software_tpm'), counterHandle: handles.number('counter', 0xffffffff),
    indexHandle: handles.number('index', 0xffffffff),
    checkpointKey: object.has('checkpoint_key_b64') ? object.base64('checkpoint_key_b64') : new Uint8Array(),
    pcrBaseline: object.has('pcr_baseline') ? object.hash('pcr_baseline') : new Uint8Array(32),
    origin: object.has('origin') ? object.text('origin') : '',
    ...(object.has('epoch') ? { epoch: decodeClaim(object.child('epoch')) } : {}),
  };
}
