// Goal: the page's verifier says of a real bundle what `stele audit` says, and never OK once the bundle was changed.
// Method: bundles of a real appliance on a software TPM with the reports of `stele audit` beside them (tests/data/bundles); then
// the same with one thing changed and the manifest written anew, and archives that no honest writer makes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NONCE, type Part, check, dataFile, firstFailure, header, putTogether, tarOf, takeApart } from './bundle_support.js';
import { type Bytes, Malformed, concat, fromHex, utf8 } from '../src/verify/bytes.js';
import { noteOfReceipt, parseExpectedPcrs, parseNonce, parsePin } from '../src/verify/bundle/input.js';
import { statementOf } from '../src/verify/bundle/verify.js';

const text = (content: Uint8Array): string => Buffer.from(content).toString('utf8');
const pin = async (): Promise<string> => text(await dataFile('pin.pem'));

interface AuditReport {
  word: string; detail: string; qualifiers: string[]; statement: string; checks: { name: string; result: string; detail: string }[];
}

for (const name of ['range', 'two']) {
  test(`a real bundle (${name}) gets the verdict, the checks and the words of stele audit`, async () => {
    const report = await check(await dataFile(`${name}.tar`), { nonce: NONCE, pinPem: await pin() });
    const audit = JSON.parse(text(await dataFile(`${name}.json`))) as AuditReport;
    assert.deepEqual([report.word, report.detail, report.qualifiers], [audit.word, audit.detail, audit.qualifiers]);
    assert.equal(statementOf(report), audit.statement);
    // The page follows no certificate chain, and says so instead.
    const said = (checks: AuditReport['checks']): string[] =>
      checks.map((one) => `${one.name} ${one.result} ${one.name === 'endorsement' ? '' : one.detail}`);
    assert.deepEqual(said(report.checks), said(audit.checks));
    assert.ok(report.unchecked.some((one) => one.includes('--ek-root')));
  });
}

test('what was not brought is said', async () => {
  const report = await check(await dataFile('range.tar'));
  assert.deepEqual(report.qualifiers, ['UNPINNED', 'SOFTWARE_TPM']);
  assert.ok(report.unchecked.some((one) => one.startsWith('freshness')));
});

test('what the auditor brings must fit', async () => {
  const range = await dataFile('range.tar');
  const zero = new Uint8Array(32);
  const other = (await pin()).replace(/E8QDD/, 'E8QDE');
  for (const [policy, name, word] of [
    [{ nonce: zero }, 'nonce', 'TAMPERED'],
    [{ pinPem: other }, 'pin', 'TAMPERED'],
    [{ expectedPcrs: new Map([[0, fromHex('11'.repeat(32))]]) }, 'expected_pcrs', 'TAMPERED'],
    [{ expectedPcrs: new Map([[8, zero]]) }, 'expected_pcrs', 'TAMPERED'],
    [{ sinceNote: 'not a note\n' }, 'since', 'TAMPERED'],
  ] as const) {
    const report = await check(range, policy as object);
    assert.deepEqual([firstFailure(report), report.word], [name, word]);
  }
  assert.equal((await check(range, { expectedPcrs: new Map([[0, zero], [7, zero]]) })).word, 'OK');
});

test('an earlier checkpoint: continued, larger, or without a proof', async () => {
  const note = (parts: Part[]): string => text(parts.find((part) => part.name === 'evidence/checkpoint')?.content ?? new Uint8Array());
  const range = await dataFile('range.tar');
  const two = await dataFile('two.tar');
  const then = note(takeApart(range));
  const later = note(takeApart(two));
  assert.equal((await check(two, { sinceNote: then })).word, 'OK');
  assert.equal((await check(range, { sinceNote: later })).word, 'ROLLED_BACK');
});

test('each member changed by one bit, the manifest fitting, is found out', async () => {
  const free = new Set(['README', 'tpm/ek-chain.pem', 'witnesses/policy', 'verify.html', 'manifest.json']);
  for (const bundle of ['range.tar', 'two.tar']) {
    const parts = takeApart(await dataFile(bundle));
    for (const part of parts) {
      const name = part.name.slice('evidence/'.length);
      if (free.has(name) || part.content.length === 0) continue;
      // The last byte of a PEM is a line break: changed, it is white space still, and the same key.
      for (const at of [0, Math.floor(part.content.length / 2), part.content.length - (name.endsWith('.pem') ? 2 : 1)]) {
        const content = part.content.slice();
        content[at] = (content[at] ?? 0) ^ 1;
        const report = await check(putTogether(parts.map((one) => (one === part ? { ...one, content } : one))), { nonce: NONCE });
        // bundle.json is signed by nobody: what it says beside the numbers that are checked is only said.
        if (name !== 'bundle.json') assert.ok(!report.good, `${bundle} ${name} at ${at}: ${report.word}`);
      }
    }
  }
});

test('members of two bundles do not mix, whichever is exchanged', async () => {
  const parts = takeApart(await dataFile('range.tar'));
  const others = new Map(takeApart(await dataFile('two.tar')).map((part) => [part.name, part.content]));
  for (const part of parts) {
    const content = others.get(part.name);
    const same = content === undefined || Buffer.from(content).equals(Buffer.from(part.content));
    if (same || /README|manifest\.json$/.test(part.name)) continue;
    const report = await check(putTogether(parts.map((one) => (one === part ? { ...one, content } : one))));
    assert.ok(!report.good, `${part.name}: ${report.word}`);
  }
});

test('a certification offered as quote is refused, and a quote as certification', async () => {
  const parts = takeApart(await dataFile('range.tar'));
  for (const [victim, impostor] of [['quote', 'counter'], ['counter', 'quote'], ['index', 'counter']] as const) {
    const from = (name: string): Bytes => parts.find((part) => part.name === name)?.content ?? new Uint8Array();
    const swapped = parts.map((part) => (part.name.startsWith(`evidence/${victim}.`) && !part.name.includes('pcrs')
      ? { ...part, content: from(part.name.replace(`/${victim}.`, `/${impostor}.`)) } : part));
    const report = await check(putTogether(swapped));
    assert.equal(firstFailure(report), victim);
    assert.equal(report.good, false);
  }
});

test('a changed record is named', async () => {
  const parts = takeApart(await dataFile('range.tar'));
  const changed = parts.map((part) => {
    if (!part.name.endsWith('.entries')) return part;
    const content = part.content.slice();
    content[92 * 3 + 16] = (content[92 * 3 + 16] ?? 0) ^ 1;       // the receive time of the fourth
    return { ...part, content };
  });
  const report = await check(putTogether(changed));
  assert.deepEqual([report.word, firstFailure(report)], ['TAMPERED', 'records']);
  assert.match(report.place, /^record /);
});

test('archives that no honest writer makes are damaged, before anything else is believed', async () => {
  const range = await dataFile('range.tar');
  const parts = takeApart(range);
  const [first, ...rest] = parts as [Part, ...Part[]];
  const hostile: [string, Bytes][] = [
    ['empty', new Uint8Array()],
    ['cut short', range.slice(0, -512)],
    ['cut in a member', range.slice(0, 5000)],
    ['bytes behind the end', concat(range, new Uint8Array(1))],
    ['a path with ..', tarOf([{ ...first, name: 'evidence/../README' }, ...rest])],
    ['an absolute name', tarOf([{ ...first, name: '/evidence/README' }, ...rest])],
    ['another folder', tarOf([{ ...first, name: 'proof/README' }, ...rest])],
    ['an unknown name', tarOf([first, { name: 'evidence/extra', content: new Uint8Array(1) }, ...rest])],
    ['a link', tarOf([{ ...first, type: '2' }, ...rest])],
    ['a directory', tarOf([{ ...first, type: '5' }, ...rest])],
    ['a pax header', tarOf([{ ...first, type: 'x' }, ...rest])],
    ['a member twice', tarOf([first, first, ...rest])],
    ['another order', tarOf([...rest.slice(0, 1), first, ...rest.slice(1)])],
    ['a member missing', putTogether(rest)],
    ['no manifest', tarOf(parts.slice(0, -1))],
    ['a size beyond the bound', concat(header('evidence/README', 8 * 1024 ** 3 - 1), range.slice(512))],
    ['a compressed archive', concat(fromHex('1f8b0800'), range)],
  ];
  for (const [what, tar] of hostile) {
    const report = await check(tar);
    assert.deepEqual([what, report.word, firstFailure(report)], [what, 'DAMAGED', 'archive']);
  }
  const renamed = parts.map((part) => (part.name === 'evidence/README' ? { ...part, content: utf8('something else') } : part));
  const report = await check(tarOf(renamed));
  assert.deepEqual([report.word, firstFailure(report)], ['DAMAGED', 'manifest']);
});

test('bad input is refused, not taken for a bad bundle', async () => {
  assert.throws(() => parseNonce('1234'), Malformed);
  assert.throws(() => parsePin('-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'), Malformed);
  assert.throws(() => parseExpectedPcrs('24 ' + '00'.repeat(32)), Malformed);
  assert.throws(() => noteOfReceipt('{"accepted":1}'), Malformed);
  assert.equal(parsePin(await pin()), await pin());
  assert.equal(parseExpectedPcrs(`# firmware\n0 ${'ab'.repeat(32)}\n\n7: 0x${'CD'.repeat(32)}\n`).size, 2);
  assert.equal(noteOfReceipt('{"checkpoint":{"note":"x"}}'), 'x');
  assert.equal(noteOfReceipt('a\n1\nb\n'), 'a\n1\nb\n');
});
