// Goal: only a checkpoint signed by exactly the pinned key opens. Method: the golden note of the C++ tests, real notes of the
// fixture log, and every kind of damage.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import './support.js';
import { FixtureLog, sha256 as nodeSha256 } from '../../../tests/browser/fixture_log.mjs';
import { keyWords, noteDigest, openNote, parseCheckpoint, parseNote, parseVerifierKey } from '../src/verify/note.js';
import { toBase64, toHex } from '../src/verify/bytes.js';
import { verifyCheckpoint } from '../src/verify/record.js';

const golden = (name: string): string => readFileSync(join(process.cwd(), '../../tests/golden', name), 'utf8');
const log = new FixtureLog();
log.append('syslog', Buffer.from('one'));
const good = log.checkpoint();

test('the golden note of the appliance opens with its key', async () => {
  const key = await parseVerifierKey(golden('checkpoint.vkey').trim());
  const body = parseCheckpoint(await openNote(golden('checkpoint.note'), key));
  assert.equal(body.origin, 'stele.invalid/log/0011223344556677');
  assert.equal(body.size, 20852163);
  assert.equal(toBase64(body.root), 'fkO00iomjMuosSlAEwXbHIShbj7WsZhq/YIigYfwqR4=');
});

test('a checkpoint that agrees with its note is good', async () => {
  const verdict = await verifyCheckpoint(good, await parseVerifierKey(log.vkey), log.origin);
  assert.ok(verdict.ok, verdict.why);
  assert.equal(verdict.size, 1);
  assert.equal(toHex(verdict.root), good.root);
});

test('another size, root, origin, key or text is not', async () => {
  const key = await parseVerifierKey(log.vkey);
  const other = await parseVerifierKey(new FixtureLog().vkey);
  const bad = [
    verifyCheckpoint({ ...good, size: 2 }, key, log.origin), verifyCheckpoint({ ...good, root: '00'.repeat(32) }, key, log.origin),
    verifyCheckpoint(good, key, 'another/log'), verifyCheckpoint(good, other, log.origin),
    verifyCheckpoint({ ...good, note: good.note.replace('\n1\n', '\n2\n'), size: 2 }, key, log.origin),
    verifyCheckpoint({ ...good, note: '' }, key, log.origin)];
  for (const verdict of await Promise.all(bad)) assert.ok(!verdict.ok && verdict.why !== '');
});

test('every flipped bit of the signature is refused', async () => {
  const key = await parseVerifierKey(log.vkey);
  const [text = '', line = ''] = good.note.split('\n\n');
  const blob = Buffer.from(line.trim().split(' ')[2], 'base64');
  for (let i = 0; i < blob.length; i++) {
    const damaged = Buffer.from(blob);
    damaged[i] = (damaged[i] ?? 0) ^ 1;
    const note = `${text}\n\n\u2014 ${log.origin} ${damaged.toString('base64')}\n`;
    await assert.rejects(openNote(note, key), `byte ${i}`);
  }
});

test('a second signature line by somebody else changes nothing; a second one by this key must verify too', async () => {
  const key = await parseVerifierKey(log.vkey);
  const witness = `${good.note}\u2014 witness.example ${Buffer.alloc(72, 7).toString('base64')}\n`;
  assert.equal(parseCheckpoint(await openNote(witness, key)).size, 1);
  assert.equal(toHex(await noteDigest(witness, log.origin)), nodeSha256(good.note).toString('hex'), 'the digest is over the own line only');
  const own = good.note.trim().split('\n').at(-1) ?? '';
  const forged = `${good.note}${own.slice(0, -8)}AAAAAA==\n`;
  await assert.rejects(openNote(forged, key));
});

test('malformed notes and checkpoints are refused', () => {
  for (const note of ['', 'x', 'a\n1\nroot\n', 'a\n\n', 'a\n\nb', 'a\n\n\u2014 x\n', 'a\n\n- x AAAA\n', 'a\u0000\n\n\u2014 x AAAAAAAA\n', `a\ud800\n\n\u2014 x AAAAAAAA\n`]) {
    assert.throws(() => parseNote(note), JSON.stringify(note));
  }
  const root = Buffer.alloc(32).toString('base64');
  for (const text of ['', 'o\n', 'o\n1\n', `\n1\n${root}\n`, `o\n01\n${root}\n`, `o\n-1\n${root}\n`, `o\n1.0\n${root}\n`, `o\n99999999999999999\n${root}\n`, 'o\n1\nAAAA\n', `o\n1\n${root}`, `o\n1\n${root}\n\n`]) {
    assert.throws(() => parseCheckpoint(text), JSON.stringify(text));
  }
  assert.equal(parseCheckpoint(`o\n0\n${root}\n`).size, 0);
  assert.deepEqual(parseCheckpoint(`o\n7\n${root}\nmore\n`).extensions, ['more']);
});

test('a verifier key whose id is not its own is refused', async () => {
  const [name = '', id = '', key = ''] = log.vkey.split('+');
  await assert.rejects(parseVerifierKey(`${name}+${id === '00000000' ? '00000001' : '00000000'}+${key}`));
  await assert.rejects(parseVerifierKey(`${name}x+${id}+${key}`));
  await assert.rejects(parseVerifierKey(''));
  await assert.rejects(parseVerifierKey(`${name}+${id}+${Buffer.alloc(33, 2).toString('base64')}`));
});

test('the key in words is eight words of five letters', async () => {
  const words = await keyWords(golden('checkpoint.vkey').trim());
  assert.match(words, /^([bdfghjklmnprstvz][aiou][bdfghjklmnprstvz][aiou][bdfghjklmnprstvz] ?){8}$/);
  const hash = nodeSha256(golden('checkpoint.vkey').trim());
  assert.equal(words[0], 'bdfghjklmnprstvz'[(hash[0] ?? 0) >> 4]);
});
