// Goal: what a genuine TPM signs about a log that was rolled back, redefined, extended by others or mixed from two boots gets
// exactly the word docs/format.md gives it.
// Method: a made-up log whose TPM signs what the story says, so that only the story is wrong and every signature is right.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NONCE, check, firstFailure } from './bundle_support.js';
import { type Story, writeBundle } from './bundle_writer.js';

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
  ['a payload is not the one its entry commits to', { wrongPayload: true }, 'records', 'TAMPERED'],
];
for (const [what, story, name, word] of STORIES) {
  test(`${what}: ${word}`, async () => {
    const report = await check((await writeBundle(story)).tar, { nonce: NONCE });
    assert.deepEqual([firstFailure(report), report.word], [name, word]);
  });
}

test('boots without an anchor qualify the verdict', async () => {
  const report = await check((await writeBundle({ bootNow: 9 })).tar);
  assert.deepEqual([report.word, report.qualifiers], ['OK', ['UNPINNED', 'GAP']]);
});
