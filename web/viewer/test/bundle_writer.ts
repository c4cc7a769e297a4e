// A whole bundle of a made-up log with keys of its own: a TPM in a few lines that signs whatever it is told, for attacks that
// only the TPM's signature over them makes interesting.
import { type KeyObject, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { type Part, NONCE, dataFile, putTogether, takeApart } from './bundle_support.js';
import { bytes } from './support.js';
import { auditedReadDigest } from '../src/verify/attest.js';
import { type Bytes, concat, fromHex, sha256, toBase64, toHex, utf8 } from '../src/verify/bytes.js';
import { commitPayload } from '../src/verify/entry.js';
import { leafHash, nodeHash } from '../src/verify/merkle.js';
import { big, derOf, nameOfPublicArea, pointOf, qualifiedNameOf, quotedRegisters, toolPcrBlob, writtenNames } from '../src/verify/bundle/tpm_names.js';

export interface Story {
  counted?: number;          // anchors the TPM has counted; the bundle shows 1
  foreign?: boolean;         // something else was extended into the PCR
  otherIndex?: boolean;      // the counter that was certified is another index
  bootNow?: number;          // resetCount at the quote; 7 at the anchor, 5 at provisioning
  bootOfCounter?: number;
  clockNow?: number;         // 5000 at the anchor
  otherX?: boolean;
  wrongPayload?: boolean;
  cosigned?: Cosigned;
  bootLog?: 'good' | 'other' | 'junk';
  audited?: 'good' | 'told' | 'shared';  // audited reads for NV_Certify; told: of another counter; shared: with other commands between
}

interface Signed { attest: Bytes; signature: Bytes; contents?: Bytes }

/** A checkpoint that witnesses a and b of WITNESSES cosigned. */
export interface Cosigned {
  size?: number;             // 4 of 5 unless said
  by?: ('a' | 'b')[];        // both
  ageS?: number;             // before the quote
  otherKey?: boolean;        // a's name, another key
  broken?: boolean;          // the last line does not verify
  otherRoot?: boolean;
}
export const QUOTED_S = 1_800_000_000;
const witnessKeys = { a: generateKeyPairSync('ed25519'), b: generateKeyPairSync('ed25519'), other: generateKeyPairSync('ed25519') };
const rawOf = (key: KeyObject): Bytes => bytes(createPublicKey(key).export({ type: 'spki', format: 'der' })).slice(-32);

async function cosignerOf(name: 'a' | 'b', key = witnessKeys[name]): Promise<{ name: string; id: Bytes; vkey: string }> {
  const full = `witness.example/${name}`;
  const blob = concat(big(4, 1), rawOf(key.privateKey));
  const id = (await sha256(utf8(`${full}\n`), blob)).slice(0, 4);
  return { name: full, id, vkey: `${full}+${toHex(id)}+${toBase64(blob)}` };
}

/** The policy an auditor of these stories brings: both witnesses, or one of them. */
export async function policyText(threshold: 'all' | 'any' = 'all'): Promise<string> {
  const [a, b] = [await cosignerOf('a'), await cosignerOf('b')];
  return `# two witnesses\nwitness a ${a.vkey}\nwitness b ${b.vkey} https://b.example/\ngroup both ${threshold} a b\nquorum both\n`;
}

async function cosignatures(text: string, story: Cosigned): Promise<string> {
  const time = QUOTED_S - (story.ageS ?? 0);
  const lines: string[] = [];
  for (const name of story.by ?? ['a', 'b'] as const) {
    const key = story.otherKey === true && name === 'a' ? witnessKeys.other : witnessKeys[name];
    const { name: full, id } = await cosignerOf(name, key);
    const last = story.broken === true && name === 'b';
    const signature = bytes(sign(null, utf8(`cosignature/v1\ntime ${last ? time + 1 : time}\n${text}`), key.privateKey));
    lines.push(`\u2014 ${full} ${toBase64(concat(id, big(time, 8), signature))}\n`);
  }
  return lines.join('');
}

/** One separator in each register, and two events in PCR 0, sha256 alone. */
async function bootLogOf(last: string): Promise<{ log: Bytes; values: Bytes[] }> {
  const id = concat(utf8('Spec ID Event03\0'), new Uint8Array(4), fromHex('00020202'), little(1, 4), little(0x0b, 2), little(32, 2), big(0, 1));
  const parts = [little(0, 4), little(3, 4), new Uint8Array(20), little(id.length, 4), id];
  const values: Bytes[] = Array.from({ length: 8 }, () => new Uint8Array(32));
  const add = async (pcr: number, what: string): Promise<void> => {
    const digest = await sha256(utf8(what));
    parts.push(little(pcr, 4), little(4, 4), little(1, 4), little(0x0b, 2), digest, little(what.length, 4), utf8(what));
    values[pcr] = await sha256(values[pcr] as Bytes, digest);
  };
  await add(0, 'version');
  for (let pcr = 0; pcr < 8; pcr++) await add(pcr, pcr === 7 ? last : 'separator');
  return { log: concat(...parts), values };
}

const sized = (content: Uint8Array): Bytes => concat(big(content.length, 2), content);
const little = (value: number, length: number): Bytes => big(value, length).reverse();
const HANDLES = { ek: 1, ak: 2, storage: 3, counter: 0x1815201, index: 0x1815202 };
const PCR = 14;
const C0 = 10;

async function rootOf(leaves: Bytes[]): Promise<Bytes> {
  if (leaves.length === 1) return leaves[0] as Bytes;
  let half = 1;
  while (2 * half < leaves.length) half *= 2;
  return nodeHash(await rootOf(leaves.slice(0, half)), await rootOf(leaves.slice(half)));
}

export interface Written {
  tar: Bytes;
  pin: string;
  cosignedNote(cosigned: Cosigned): Promise<string>;    // another one of the same log
}

export async function writeBundle(story: Story = {}): Promise<Written> {
  const [owner, ak] = [generateKeyPairSync('ec', { namedCurve: 'P-256' }), generateKeyPairSync('ec', { namedCurve: 'P-256' })];
  const log = generateKeyPairSync('ed25519');
  const pem = (key: typeof ak): string => String(key.publicKey.export({ type: 'spki', format: 'pem' }));
  const signWith = (key: typeof ak, data: Uint8Array): Bytes =>
    bytes(sign('sha256', data, { key: key.privateKey, dsaEncoding: 'ieee-p1363' }));
  const akPoint = pointOf(pem(ak));
  const akArea = concat(fromHex('0023000b00050472000000100018000b00030010'), sized(akPoint.slice(0, 32)), sized(akPoint.slice(32)));
  const akName = await nameOfPublicArea(akArea);
  const ekName = await nameOfPublicArea(utf8('an endorsement key'));
  const names = await writtenNames(HANDLES.counter, HANDLES.index, pem(owner));
  const x0 = await sha256(utf8('X0'));
  const logKey = bytes(createPublicKey(log.privateKey).export({ type: 'spki', format: 'der' })).slice(-32);
  const record = utf8(JSON.stringify({
    log: 'stele', version: 1, created_ns: 1, ek_certificate_b64: '', ek_name: toHex(ekName), ak_name: toHex(akName),
    ak_public_pem: pem(ak), ak_public_b64: toBase64(sized(akArea)), counter_name: toHex(names.counter), index_name: toHex(names.index),
    counter_start: C0, index_start: toHex(x0), pcr: PCR, reset_count: 5, firmware_version: 1, software_tpm: false, handles: HANDLES,
    checkpoint_key_b64: toBase64(logKey) }));
  const logId = await sha256(record);

  const entries: Bytes[] = [];
  const leaves: Bytes[] = [];
  const payloads = ['genesis', 'one', 'two \u202e', 'three', 'four'].map(utf8);
  const salts = payloads.map((_, i) => new Uint8Array(16).fill(i));
  const peer = new Uint8Array(18);
  for (const [i, payload] of payloads.entries()) {
    const commitment = await commitPayload(salts[i] as Bytes, peer, payload);
    const entry = concat(big(1, 1), big(1, 1), new Uint8Array(6), little(i, 8), little(1e15 + i, 8), leaves.at(-1) ?? logId, commitment,
      little(payload.length, 4));
    entries.push(entry);
    leaves.push(await leafHash(entry));
  }
  if (story.wrongPayload === true) payloads[3] = utf8('THREE');

  const origin = 'made.up.example/log';
  const keyBlob = concat(big(1, 1), logKey);
  const id = (await sha256(utf8(`${origin}\n`), keyBlob)).slice(0, 4);
  const noteText = `${origin}\n${leaves.length}\n${toBase64(await rootOf(leaves))}\n`;
  const note = `${noteText}\n\u2014 ${origin} ${toBase64(concat(id, bytes(sign(null, utf8(noteText), log.privateKey))))}\n`;
  const digest = await sha256(utf8(note));

  const cosignedNote = async (cosigned: Cosigned): Promise<string> => {
    const size = cosigned.size ?? 4;
    const root = cosigned.otherRoot === true ? new Uint8Array(32) : await rootOf(leaves.slice(0, Math.min(size, leaves.length)));
    const text = `${origin}\n${size}\n${toBase64(root)}\n`;
    const own = `\u2014 ${origin} ${toBase64(concat(id, bytes(sign(null, utf8(text), log.privateKey))))}\n`;
    return `${text}\n${own}${await cosignatures(text, cosigned)}`;
  };
  const optionalParts = async ({ cosigned, bootLog }: Story): Promise<[string, Bytes][]> => {
    const parts: [string, Bytes][] = [];
    if (bootLog !== undefined) {
      parts.push(['boot.tcg', bootLog === 'junk' ? utf8('junk') : (await bootLogOf(bootLog === 'good' ? 'separator' : 'other')).log]);
    }
    if (cosigned !== undefined) parts.push(['witnesses/cosigned.note', utf8(await cosignedNote(cosigned))]);
    return parts;
  };

  const zero = new Uint8Array(32);
  const x1 = await sha256(x0, digest);
  const pcrThen = await sha256(zero, digest);
  const pcrNow = story.foreign === true ? await sha256(pcrThen, utf8('something else'.padEnd(32))) : pcrThen;
  const signer = await qualifiedNameOf(ekName, akName);
  const qualifying = (purpose: string, nonce: Bytes): Promise<Bytes> =>
    sha256(utf8(`stele/qd/v1${purpose}`), logId, little(1, 8), digest, nonce);
  const attest = (type: number, data: Bytes, boot: number, clock: number, body: Bytes): Signed => {
    const head = concat(big(0xff544347, 4), big(type, 2), sized(signer), sized(data), big(clock, 8), big(boot, 4), big(0, 4), big(1, 1), big(1, 8));
    const raw = signWith(ak, concat(head, body));
    return { attest: concat(head, body), signature: concat(big(0x18, 2), big(0x0b, 2), sized(raw.slice(0, 32)), sized(raw.slice(32))) };
  };
  const registers = quotedRegisters(PCR);
  const boot0to7 = story.bootLog === undefined ? [] : (await bootLogOf('separator')).values;
  const values = (pcr: Bytes): Bytes[] => registers.map((one) => (one === PCR ? pcr : boot0to7[one] ?? zero));
  const quote = async (data: Bytes, boot: number, clock: number, pcr: Bytes) => attest(0x8018, data, boot, clock,
    concat(big(1, 4), big(0x0b, 2), big(3, 1), fromHex('ff5a00'), sized(await sha256(...values(pcr)))));
  const nv = async (data: Bytes, boot: number, clock: number, name: Bytes, contents: Bytes): Promise<Signed> => {
    if (story.audited === undefined) return attest(0x8014, data, boot, clock, concat(sized(name), big(0, 2), sized(contents)));
    const body = concat(big(story.audited === 'shared' ? 0 : 1, 1), sized(await auditedReadDigest(name, contents)));
    return { ...attest(0x8016, data, boot, clock, body), contents: story.audited === 'told' ? big(C0 + 9, contents.length) : contents };
  };
  const json = (one: Signed, pcr?: Bytes) => ({
    attest_b64: toBase64(one.attest), signature_b64: toBase64(one.signature), ...(pcr === undefined ? {} : { pcr_values: values(pcr).map(toHex) }),
    ...(one.contents === undefined ? {} : { contents_b64: toBase64(one.contents) }) });

  const receipt = {
    number: 1, size: leaves.length, digest: toHex(digest), pcr: toHex(pcrThen), index: toHex(x1), counter: C0 + 1, late: false, reset_count: 7,
    restart_count: 0, clock_ms: 5000, wall_ns: 1, quote: json(await quote(await qualifying('receipt-quote', zero), 7, 5000, pcrThen), pcrThen),
    certify_counter: json(await nv(await qualifying('certify-C', zero), 7, 5000, names.counter, big(C0 + 1, 8))),
    certify_index: json(await nv(await qualifying('certify-X', zero), 7, 5000, names.index, x1)) };
  const boot = story.bootNow ?? 7;
  const clock = story.clockNow ?? 6000;
  const data = await qualifying('audit', NONCE);
  const signed = {
    quote: await quote(data, boot, clock, pcrNow),
    counter: await nv(data, story.bootOfCounter ?? boot, clock, story.otherIndex === true ? akName : names.counter, big(C0 + (story.counted ?? 1), 8)),
    index: await nv(data, boot, clock, names.index, story.otherX === true ? zero : x1) };
  const audit = {
    log_id: toHex(logId), origin, nonce: toHex(NONCE), anchor: 1, digest: toHex(digest), qualifying: toHex(data), checkpoint: note, pcr: PCR,
    counter: C0 + 1, index: toHex(x1), reset_count: boot, restart_count: 0, clock_ms: clock, wall_ns: QUOTED_S * 1e9, demand: 'made', demand_text: '',
    quote: json(signed.quote, pcrNow), certify_counter: json(signed.counter), certify_index: json(signed.index) };
  const info = {
    bundle: 'stele', version: 1, log_id: toHex(logId), origin, nonce: toHex(NONCE), created_ns: 1, software: 'a test',
    selection: { kind: 'range', text: '1..4' }, scope: 'all', records: leaves.length, payloads: true, log_size: leaves.length,
    marks: story.cosigned === undefined ? [leaves.length] : [4, leaves.length], anchors: { first: 1, count: 1 }, pcr_log: { pcr: PCR, start: 'baseline', events: 1 } };
  const digests = [{ digest: toHex(digest), hashAlg: 'sha256' }];
  const cel = (event: object): Bytes => utf8(`\u001e${JSON.stringify(event)}\n`);
  const specId = takeApart(await dataFile('range.tar')).find((part) => part.name.endsWith('checkpoints.tcg'))?.content.slice(0, 65) ?? zero;
  const parts: [string, Bytes][] = [
    ['README', utf8('made up\n')], ['bundle.json', utf8(JSON.stringify(info))], ['provisioning/record.json', record],
    ['provisioning/record.sig', derOf(signWith(owner, record))], ['provisioning/key.pem', utf8(pem(owner))], ['tpm/ak.pem', utf8(pem(ak))],
    ['tpm/ak.tpm2b', sized(akArea)], ['log.vkey', utf8(`${origin}+${toHex(id)}+${toBase64(keyBlob)}\n`)], ['checkpoint', utf8(note)],
    ['attest.json', utf8(JSON.stringify(audit))]];
  for (const [stem, one] of Object.entries(signed)) {
    const raw = concat(one.signature.slice(6, 38), one.signature.slice(40));
    parts.push([`${stem}.attest`, one.attest], [`${stem}.signature`, one.signature], [`${stem}.der`, derOf(raw)]);
    if (stem === 'quote') parts.push(['quote.pcrs', concat(...values(pcrNow))], ['quote.pcrs.tpm2-tools', toolPcrBlob(registers, values(pcrNow))]);
  }
  parts.push(
    ['receipt.json', utf8(JSON.stringify(receipt))],
    ['anchors.cel', cel({ content: { eventType: 'anchor', number: 1, string: note }, content_type: 'stele', digests, nv_index: HANDLES.index, recnum: 0 })],
    ['checkpoints.tcg', concat(specId, little(PCR, 4), little(6, 4), little(1, 4), little(0x0b, 2), digest, little(utf8(note).length, 4), utf8(note))],
    ['checkpoints.cel', cel({ content: { eventType: 'checkpoint', string: note }, content_type: 'stele', digests, pcr: PCR, recnum: 0 })],
    ...(await optionalParts(story)),
    ['records/000000.entries', concat(...entries)], ['records/000000.tree', new Uint8Array()], ['records/000000.salts', concat(...salts)],
    ['records/000000.peers', concat(...entries.map(() => peer))], ['records/000000.payloads', concat(...payloads)], ['records/end.tree', new Uint8Array()]);
  const all: Part[] = parts.map(([name, content]) => ({ name: `evidence/${name}`, content }));
  return { tar: putTogether(all), pin: pem(owner), cosignedNote };
}
