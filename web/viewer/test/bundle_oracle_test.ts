// Goal: on any bundle, however damaged, this verifier and the C++ one agree: same word, same qualifiers, same result and word
// of every check.
// Method: both on the same bundles: made-up stories, then real ones with one byte or member changed, from a fixed seed. Only
// where STELE_AUDIT names a built stele-audit; STELE_AUDIT_CASES sets how many (300).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NONCE, type Part, check, dataFile, putTogether, takeApart } from './bundle_support.js';
import { type Story, policyText, writeBundle } from './bundle_writer.js';
import { type Bytes, toHex } from '../src/verify/bytes.js';
import { type WitnessPolicy, parseWitnessPolicy } from '../src/verify/witness.js';

const program = process.env['STELE_AUDIT'] ?? '';
const cases = Number(process.env['STELE_AUDIT_CASES'] ?? 300);
const STORIES: Story[] = [
  {}, { counted: 3 }, { counted: 0 }, { foreign: true }, { otherIndex: true }, { bootNow: 6 }, { bootNow: 4 }, { bootNow: 9 },
  { clockNow: 4999 }, { bootOfCounter: 8 }, { otherX: true }, { wrongPayload: true }, { bootLog: 'good' }, { bootLog: 'other' },
  { bootLog: 'junk' }, { audited: 'good' }, { audited: 'told' }, { audited: 'shared' }, { audited: 'good', otherIndex: true },
  { audited: 'good', bootOfCounter: 8 }];
const WITNESS_STORIES: Story[] = [
  {}, { cosigned: {} }, { cosigned: { by: ['b'] } }, { cosigned: { otherKey: true } }, { cosigned: { ageS: 90_000 } },
  { cosigned: { ageS: -90_000 } }, { cosigned: { broken: true } }, { cosigned: { size: 6 } }, { cosigned: { size: 5 } },
  { cosigned: { otherRoot: true } }, { cosigned: { size: 3 } }, { cosigned: { by: ['b'] }, wrongPayload: true }];

interface Said { word: string; qualifiers: string[]; checks: { name: string; result: string; word?: string }[] }
const outline = ({ word, qualifiers, checks }: Said) =>
  ({ word, qualifiers, checks: checks.map((one) => `${one.name} ${one.result} ${one.word ?? ''}`) });

async function agree(what: string, tar: Bytes, witnesses?: { file: string; policy: WitnessPolicy }): Promise<void> {
  const more = witnesses === undefined ? [] : ['--witness-policy', witnesses.file];
  const audit = spawnSync(program, ['--json', '--nonce', toHex(NONCE), ...more, '-'], { input: tar, maxBuffer: 1 << 24 });
  const theirs = JSON.parse(audit.stdout.toString()) as Said;
  const policy = { nonce: NONCE, ...(witnesses === undefined ? {} : { witnesses: witnesses.policy }) };
  assert.deepEqual(outline(await check(tar, policy)), outline(theirs), what);
}

// Park and Miller's generator: the same cases every time.
let seed = 4711;
const below = (n: number): number => (seed = (seed * 48271) % 2147483647) % Math.max(1, n);

function changedByte(content: Bytes): Bytes {
  const copy = content.slice();
  const at = below(copy.length);
  if (copy.length > 0) copy[at] = (copy[at] ?? 0) ^ (1 << below(8));
  return below(8) === 0 ? copy.slice(0, at) : copy;
}

test('stele-audit and the page agree', { skip: program === '' ? 'STELE_AUDIT names no stele-audit' : false }, async () => {
  for (const story of STORIES) await agree(JSON.stringify(story), (await writeBundle(story)).tar);
  const folder = await mkdtemp(join(tmpdir(), 'stele-oracle-'));
  const file = join(folder, 'policy');
  await writeFile(file, await policyText());
  const witnesses = { file, policy: await parseWitnessPolicy(await policyText()) };
  for (const story of WITNESS_STORIES) await agree(`witnesses ${JSON.stringify(story)}`, (await writeBundle(story)).tar, witnesses);
  const cosigned = (await writeBundle({ cosigned: {} })).tar;
  for (let i = 0; i < cases / 6; i++) {
    const parts = takeApart(cosigned).map((part) => (part.name.endsWith('cosigned.note') ? { ...part, content: changedByte(part.content) } : part));
    await agree(`cosigned note ${i}`, putTogether(parts), witnesses);
  }
  await rm(folder, { recursive: true });
  const bundles = [await dataFile('range.tar'), await dataFile('two.tar')];
  for (let i = 0; i < cases; i++) {
    const tar = bundles[below(2)] as Bytes;
    if (below(6) === 0) {
      await agree(`case ${i}`, changedByte(tar));
      continue;
    }
    const parts = takeApart(tar);
    const part = parts[below(parts.length)] as Part;
    const others = below(10) === 0 ? parts.filter((one) => one !== part)
      : parts.map((one) => (one === part ? { ...one, content: changedByte(one.content) } : one));
    await agree(`case ${i}: ${part.name}`, putTogether(others));
  }
});
