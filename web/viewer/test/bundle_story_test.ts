// Goal: what a genuine TPM signs about a log that was rolled back, redefined, extended by others or mixed from two boots gets
// exactly the word docs/format.md gives it.
// Method: a made-up log whose TPM signs what the story says, so that only the story is wrong and every signature is right.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NONCE, check, firstFailure } from './bundle_support.js';
import { type Cosigned, type Story, policyText, writeBundle } from './bundle_writer.js';
import { Malformed } from '../src/verify/bytes.js';
import { parseWitnessPolicy } from '../src/verify/witness.js';

test('a whole made-up bundle is good, and pinned without reservation', async () => {
  const { tar, pin } = await writeBundle();
  const report = await check(tar, { nonce: NONCE, pinPem: pin });
  assert.deepEqual([report.word, report.qualifiers, report.detail], ['OK', [], '5 entries proven']);
});

const STORIES: [what: string, story: Story, check: string, word: string][] = [
  ['the TPM counted more anchors than are shown', { counted: 3 }, 'anchors', 'ROLLED_BACK'],
  ['the TPM counted fewer anchors than are shown', { counted: 0 }, 'anchors', 'ROLLED_BACK'],
  ['something else was extended into the register', { foreign: true }, 'pcr_log', 'FOREIGN_EXTEND'],
  ['the counter is another index', { otherIndex: true }, 'counter', 'ANCHOR_REDEFINED'],
  ['the TPM was reset less often than at its last anchor', { bootNow: 6 }, 'boot', 'ROLLED_BACK'],
  ['the TPM was reset less often than at provisioning', { bootNow: 4 }, 'boot', 'ROLLED_BACK'],
  ['the clock of one boot fell', { clockNow: 4999 }, 'boot', 'ROLLED_BACK'],
  ['quote and counter are of two boots', { bootOfCounter: 8 }, 'boot', 'TAMPERED'],
  ['X is not on the chain of the anchors', { otherX: true }, 'anchors', 'TAMPERED'],
  ['the TPM has no NV_Certify', { audited: 'good' }, '', 'OK'],
  ['an audited read is told to have read another value', { audited: 'told' }, 'counter', 'TAMPERED'],
  ['other commands ran since the audited read', { audited: 'shared' }, 'counter', 'TAMPERED'],
  ['an audited read of another index', { audited: 'good', otherIndex: true }, 'counter', 'TAMPERED'],
  ['the TPM without NV_Certify counted more anchors', { audited: 'good', counted: 3 }, 'anchors', 'ROLLED_BACK'],
  ['a payload is not the one its entry commits to', { wrongPayload: true }, 'records', 'TAMPERED'],
];
for (const [what, story, name, word] of STORIES) {
  test(`${what}: ${word}`, async () => {
    const report = await check((await writeBundle(story)).tar, { nonce: NONCE });
    assert.deepEqual([firstFailure(report) ?? '', report.word], [name, word]);
  });
}

const WITNESS_STORIES: [what: string, story: Story, word: string][] = [
  ['both witnesses cosigned a beginning of the log', { cosigned: {} }, 'OK'],
  ['the bundle carries nothing of theirs', {}, 'CANNOT_TELL'],
  ['one of two is no quorum', { cosigned: { by: ['b'] } }, 'CANNOT_TELL'],
  ['another key under a name of theirs', { cosigned: { otherKey: true } }, 'CANNOT_TELL'],
  ['their word is older than a day', { cosigned: { ageS: 90_000 } }, 'CANNOT_TELL'],
  ['their word is of a day to come', { cosigned: { ageS: -90_000 } }, 'CANNOT_TELL'],
  ['a line of theirs does not verify', { cosigned: { broken: true } }, 'TAMPERED'],
  ['they saw a larger log', { cosigned: { size: 6 } }, 'ROLLED_BACK'],
  ['they saw another history', { cosigned: { otherRoot: true } }, 'TAMPERED'],
  ['no proof leads to the size they saw', { cosigned: { size: 3 } }, 'CANNOT_TELL'],
  ['what cannot be told does not hide what is wrong', { cosigned: { by: ['b'] }, wrongPayload: true }, 'TAMPERED'],
];
for (const [what, story, word] of WITNESS_STORIES) {
  test(`witnesses: ${what}: ${word}`, async () => {
    const policy = { nonce: NONCE, witnesses: await parseWitnessPolicy(await policyText()) };
    const report = await check((await writeBundle(story)).tar, policy);
    assert.equal(report.word, word, report.detail);
    assert.equal(report.facts.witnessed.quorum, word === 'OK');
  });
}

test('witnesses: a larger checkpoint of theirs that the auditor holds makes the smaller one stale', async () => {
  const { tar, cosignedNote } = await writeBundle({ cosigned: {} });
  const witnesses = await parseWitnessPolicy(await policyText());
  for (const [held, word] of [[{}, 'OK'], [{ size: 5 }, 'CANNOT_TELL'], [{ size: 5, by: ['a'] }, 'OK']] as const) {
    const report = await check(tar, { witnesses, sinceNote: await cosignedNote(held as Cosigned) });
    assert.equal(report.word, word, JSON.stringify(held));
  }
});

test('witnesses: without a policy nobody is believed, and that is said', async () => {
  const report = await check((await writeBundle({ cosigned: {} })).tar, { nonce: NONCE });
  assert.equal(report.word, 'OK');
  assert.ok(report.unchecked.some((one) => one.includes('--witness-policy')));
});

const POLICIES: [what: string, change: (text: string) => string][] = [
  ['no quorum', (text) => text.replace(/quorum.*\n/, '')],
  ['two quorums', (text) => `${text}quorum none\n`],
  ['a quorum of nobody', (text) => text.replace('quorum both', 'quorum c')],
  ['a threshold of three of two', (text) => text.replace('both all', 'both 3')],
  ['a threshold of none', (text) => text.replace('both all', 'both 0')],
  ['a member twice', (text) => text.replace('all a b', 'all a a')],
  ['a name twice', (text) => text.replace('group both', 'group a')],
  ['a key twice', (text) => text.replace(/witness b .*/, (text.match(/witness a .*/)?.[0] ?? '').replace('witness a', 'witness b'))],
  ['a log key as witness', (text) => text.replace(/\+B/, '+A')],
  ['a cut line', (text) => text.slice(0, -1)],
  ['a control character', (text) => `#\u0001\n${text}`],
  ['an unknown word', (text) => `witnesses a\n${text}`],
];
test('witnesses: a policy that is not one is refused before anything is checked', async () => {
  const good = await policyText();
  assert.equal((await parseWitnessPolicy(good)).witnesses.length, 2);
  for (const [what, change] of POLICIES) await assert.rejects(parseWitnessPolicy(change(good)), Malformed, what);
});

test('the boot event log is replayed against the quoted registers', async () => {
  for (const [bootLog, word] of [['good', 'OK'], ['other', 'FOREIGN_EXTEND'], ['junk', 'DAMAGED']] as const) {
    const report = await check((await writeBundle({ bootLog })).tar, { nonce: NONCE });
    assert.deepEqual([word, report.word], [report.word, word], report.detail);
    if (bootLog === 'other') assert.deepEqual(report.facts.bootRegisters.filter((one) => !one.quoted).map((one) => one.pcr), [7]);
  }
});

test('boots without an anchor qualify the verdict', async () => {
  const report = await check((await writeBundle({ bootNow: 9 })).tar);
  assert.deepEqual([report.word, report.qualifiers], ['OK', ['UNPINNED', 'GAP']]);
});
