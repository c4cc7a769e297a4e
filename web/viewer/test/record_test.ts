// Goal: a row is `proven` only when all it shows is what the entry commits to. Method: real rows of the fixture log, each
// member changed in turn.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytes } from './support.js';
import { FixtureLog, iso, mappedPeer } from '../../../tests/browser/fixture_log.mjs';
import { ENTRY_BYTES, addressOf, decodeEntry, peerText } from '../src/verify/entry.js';
import { type CheckpointVerdict, type RowData, verifyCheckpoint, verifyRow } from '../src/verify/record.js';
import { parseVerifierKey } from '../src/verify/note.js';
import { verifyInclusion } from '../src/verify/merkle.js';

const log = new FixtureLog();
for (let i = 0; i < 20; i++) {
  log.append('syslog', Buffer.from(`<${8 + (i % 8)}>1 - host app - - - message ${i}`), { source: 3, peer: mappedPeer(192, 0, 2, i, 514), timeNs: 1_795_000_000_123_456_789n + BigInt(i) });
}
log.append('syslog', Buffer.alloc(5000, 'x'), { source: 3, peer: mappedPeer(192, 0, 2, 99, 514), flags: 1 });
const data = log.checkpoint();
const checkpoint: CheckpointVerdict = await verifyCheckpoint(data, await parseVerifierKey(log.vkey), log.origin);

function rowOf(seq: number): RowData {
  const r = log.records[seq];
  assert.ok(r !== undefined);
  return {
    seq, time: iso(r.timeNs), time_ns: String(r.timeNs), kind: r.kind, flags: seq === 20 ? ['truncated'] : [], source: { id: r.source }, peer: peerText(r.peer),
    severity: seq % 8, size: r.payload.length, payload_b64: r.payload.subarray(0, 2048).toString('base64'), payload_whole: r.payload.length <= 2048,
    format: 'rfc5424', entry_b64: r.entry.toString('base64'), salt_b64: r.salt.toString('base64'), peer_b64: r.peer.toString('base64'),
    proof: log.tree.inclusion(seq, 0, data.size).map((h) => h.toString('hex')) };
}

test('every true row is proven', async () => {
  for (let seq = 0; seq < 20; seq++) {
    const verdict = await verifyRow(rowOf(seq), checkpoint);
    assert.equal(verdict.state, 'proven', verdict.why);
    assert.ok(verdict.checks.every((check) => check.ok === true));
  }
});

test('each member that lies makes exactly that row false', async () => {
  const row = rowOf(6);
  const flipHex = (text: string): string => (text[0] === '0' ? '1' : '0') + text.slice(1);
  const flipBase64 = (text: string): string => { const b = Buffer.from(text, 'base64'); b[b.length - 1] = (b.at(-1) ?? 0) ^ 1; return b.toString('base64'); };
  const lies: Partial<RowData>[] = [
    { seq: 7 }, { time_ns: '1795000000123456788' }, { kind: 'json' }, { flags: ['truncated'] }, { source: { id: 4 } }, { size: 1 }, { peer: '192.0.2.7:514' },
    { severity: 3 }, { payload_b64: flipBase64(row.payload_b64) }, { payload_b64: '' }, { salt_b64: flipBase64(row.salt_b64 ?? '') }, { peer_b64: flipBase64(row.peer_b64 ?? '') },
    { entry_b64: flipBase64(row.entry_b64 ?? '') }, { entry_b64: '' }, { entry_b64: 'AAAA' }, { proof: [] }, { proof: [...(row.proof ?? []), '00'.repeat(32)] },
    { proof: (row.proof ?? []).map((h, i) => (i === 1 ? flipHex(h) : h)) }, { proof: (row.proof ?? []).map((h) => h.toUpperCase()) }, { proof: ['zz'] }];
  for (const lie of lies) {
    const verdict = await verifyRow({ ...row, ...lie }, checkpoint);
    assert.equal(verdict.state, 'false', JSON.stringify(lie));
    assert.notEqual(verdict.why, '');
  }
});

test('a withheld proof, entry or salt is never taken for proven', async () => {
  const { proof, ...withoutProof } = rowOf(4);
  const { entry_b64, ...withoutEntry } = rowOf(4);
  const { salt_b64, ...withoutSalt } = rowOf(4);
  assert.ok(proof !== undefined && entry_b64 !== undefined && salt_b64 !== undefined);
  assert.equal((await verifyRow(withoutProof, checkpoint)).state, 'false');
  assert.equal((await verifyRow(withoutEntry, checkpoint)).state, 'false');
  assert.equal((await verifyRow(withoutSalt, checkpoint)).state, 'part');
  assert.equal((await verifyRow({ ...withoutProof, seq: data.size }, checkpoint)).state, 'open', 'above the checkpoint there is none to give');
});

test('a row whose payload is partly here becomes proven with all of it, and only with the right bytes', async () => {
  const row = rowOf(20);
  assert.equal((await verifyRow(row, checkpoint)).state, 'part');
  const whole = bytes(log.records[20]?.payload ?? Buffer.alloc(0));
  assert.equal((await verifyRow(row, checkpoint, whole)).state, 'proven');
  assert.equal((await verifyRow(row, checkpoint, whole.slice(1))).state, 'false');
  assert.equal((await verifyRow({ ...row, payload_whole: true }, checkpoint)).state, 'false', 'a part that is called the whole');
  const preview = Buffer.from(row.payload_b64, 'base64');
  preview[100] = 0x79;
  assert.equal((await verifyRow({ ...row, payload_b64: preview.toString('base64') }, checkpoint, whole)).state, 'false',
    'true bytes fetched later do not excuse a false preview');
});

test('nothing is proven against a bad checkpoint', async () => {
  assert.equal((await verifyRow(rowOf(1), { ...checkpoint, ok: false, why: 'x' })).state, 'false');
});

test('the entry of 92 bytes is read as it is written, and nothing else is', () => {
  const raw = bytes(log.records[20]?.entry ?? Buffer.alloc(0));
  const entry = decodeEntry(raw);
  assert.deepEqual([entry.kind, entry.flags, entry.source, entry.sequence, entry.payloadLength], ['syslog', ['truncated'], 3, 20, 5000]);
  for (let n = 0; n < ENTRY_BYTES; n++) assert.throws(() => decodeEntry(raw.slice(0, n)));
  for (const [at, value] of [[0, 2], [1, 0], [1, 14], [15, 0xff]] as const) {
    const bad = bytes(raw);
    bad[at] = value;
    assert.throws(() => decodeEntry(bad), `byte ${at}`);
  }
});

test('peers are written as the appliance writes them', () => {
  const v6 = (groups: number[], port: number): Uint8Array => new Uint8Array([...groups.flatMap((g) => [g >> 8, g & 255]), port >> 8, port & 255]);
  assert.equal(peerText(mappedPeer(192, 0, 2, 1, 514)), '192.0.2.1:514');
  assert.equal(peerText(v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 514)), '[2001:db8::1]:514');
  assert.equal(peerText(v6([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1], 1)), '[2001:db8:0:1::1]:1');
  assert.equal(peerText(v6([0, 0, 0, 0, 0, 0, 0, 1], 1)), '[::1]:1');
  assert.equal(peerText(v6([0xfe80, 0, 1, 0, 0, 1, 0, 0], 1)), '[fe80:0:1::1:0:0]:1', 'the first of two equal runs');
  assert.equal(peerText(v6([1, 0, 2, 3, 4, 5, 6, 7], 9)), '[1:0:2:3:4:5:6:7]:9');
  assert.equal(peerText(new Uint8Array(18)), '');
  for (const [peer, address] of [['192.0.2.1:514', '192.0.2.1'], ['[2001:db8::1]:514', '2001:db8::1'], ['', ''], ['odd', 'odd']] as const) {
    assert.equal(addressOf(peer), address);
  }
});

test('the fixture agrees with the verifier about the tree itself', async () => {
  const leaf = bytes(log.tree.leaves[0] ?? Buffer.alloc(0));
  assert.ok(await verifyInclusion(0, data.size, leaf, log.tree.inclusion(0, 0, data.size).map(bytes), checkpoint.root));
});
