// What the TPM said: the quote and both certifications over the auditor's nonce, the newest anchor's receipt, the X-chain of
// all anchors and the P-chain of this boot's checkpoints.
import { type Attest, openAuditedRead, parseAttest, parseEcdsaSignature, quotedValue, verifyAttestSignature } from '../attest.js';
import { type Bytes, Malformed, equal, sha256, toHex, utf8 } from '../bytes.js';
import { replayBootLog } from './boot_log.js';
import { isCheckpointsCel, parseAnchorsCel, parseEventLog, type AnchorEvent } from './event_log.js';
import { type Attestation, type Audit, type BundleInfo, type ProvisioningRecord, type Receipt, decodeReceipt } from './format.js';
import { decodeText } from './members.js';
import { type CheckName, type VerifyState, type Word, openCheckpoint, reason } from './state.js';
import { derOf, qualifiedNameOf, quotedRegisters, toolPcrBlob } from './tpm_names.js';

type Purpose = 'receipt-quote' | 'certify-C' | 'certify-X' | 'audit';

function require(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Malformed(otherwise);
}

async function qualifyingData(purpose: Purpose, logId: Bytes, anchor: number, digest: Bytes, nonce: Bytes): Promise<Bytes> {
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(anchor), true);
  return sha256(utf8(`stele/qd/v1${purpose}`), logId, number, digest, nonce);
}

/** What state already holds when the TPM's part begins. */
interface Known { state: VerifyState; info: BundleInfo; audit: Audit; record: ProvisioningRecord }

/** name: of the NV index. */
interface Expected { type: Attest['type']; qualifying: Bytes; signer?: Bytes; name?: Bytes }

async function openAttest(record: ProvisioningRecord, attestation: Attestation, expected: Expected): Promise<Attest> {
  require(await verifyAttestSignature(record.akPem, attestation.attest, attestation.signature),
    'attestation: not signed by the attestation key');
  let attest = parseAttest(attestation.attest);
  if (attest.type === 'audit' && expected.name !== undefined && attestation.contents !== undefined) {
    attest = await openAuditedRead(attest, attestation.contents, expected.name);
  } else {
    require(attestation.contents === undefined, 'attestation: another kind than expected');
  }
  require(attest.type === expected.type, 'attestation: another kind than expected');
  require(equal(attest.extraData, expected.qualifying), 'attestation: other qualifying data');
  require(expected.signer === undefined || equal(attest.signer, expected.signer),
    'attestation: signed by another key than the pinned child of the pinned EK');
  return attest;
}

async function openQuote(record: ProvisioningRecord, attestation: Attestation, expected: Omit<Expected, 'type'>): Promise<Attest> {
  const quote = await openAttest(record, attestation, { ...expected, type: 'quote' });
  const [selection] = quote.pcrs;
  require([8, 13, 14].includes(record.pcr) && quote.pcrs.length === 1 && selection?.hash === 0x000b &&
    quote.fields.some((field) => field.name === 'bitmap length' && field.value === '3') &&
    selection.pcrs.join() === quotedRegisters(record.pcr).join(), 'attestation: a quote over other registers than expected');
  return quote;
}

class AnotherIndex extends Malformed {}

async function openNv(
  record: ProvisioningRecord, attestation: Attestation, expected: Omit<Expected, 'type'>, name: Bytes, size: number): Promise<Attest> {
  const attest = await openAttest(record, attestation, { ...expected, type: 'nv', name });
  require(attest.nvOffset === 0 && attest.nvContents.length === size, 'attestation: not the whole NV index');
  if (!equal(attest.nvName, name)) throw new AnotherIndex('attestation: another NV index than the pinned one');
  return attest;
}

function counterOf(attest: Attest): number {
  const value = attest.nvContents.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  require(value <= BigInt(Number.MAX_SAFE_INTEGER), 'a counter beyond what this page computes with');
  return Number(value);
}

/** `listed`: the same in attest.json, which alone has what an audited read said. */
const attestationOf = (state: VerifyState, stem: string, listed: Attestation): Attestation =>
  ({ attest: state.bytes(`${stem}.attest`), signature: state.bytes(`${stem}.signature`), pcrValues: [], contents: listed.contents });

/** The forms of one signature are the same signature, and attest.json does not say otherwise. */
function checkForms(state: VerifyState, stem: string, listed: Attestation): void {
  const attestation = attestationOf(state, stem, listed);
  require(equal(derOf(parseEcdsaSignature(attestation.signature)), state.bytes(`${stem}.der`)), 'its DER form is another signature');
  require(equal(listed.attest, attestation.attest) && equal(listed.signature, attestation.signature), 'attest.json holds another one');
}

async function attempt(state: VerifyState, name: CheckName, place: string, check: () => Promise<string>): Promise<void> {
  try {
    state.checks.pass(name, await check());
  } catch (error) {
    state.checks.fail(name, error instanceof AnotherIndex ? 'ANCHOR_REDEFINED' : 'TAMPERED', reason(error), place);
  }
}

async function expectedOf({ info, audit, record }: Known): Promise<Omit<Expected, 'type'>> {
  return {
    qualifying: await qualifyingData('audit', info.logId, audit.anchor, audit.digest, info.nonce),
    signer: await qualifiedNameOf(record.ekName, record.akName) };
}

const checkQuote = (known: Known): Promise<void> => attempt(known.state, 'quote', 'quote.attest', async () => {
  const { state, audit, record } = known;
  const quote = await openQuote(record, attestationOf(state, 'quote', audit.quote), await expectedOf(known));
  checkForms(state, 'quote', audit.quote);
  const raw = state.bytes('quote.pcrs');
  const registers = quotedRegisters(record.pcr);
  require(raw.length === 32 * registers.length, 'quote.pcrs is not a list of digests of the quoted registers');
  const values = registers.map((_, i) => raw.slice(32 * i, 32 * i + 32));
  const value = await quotedValue(quote, values, record.pcr);
  require(value !== undefined, 'attestation: the register values are not the quoted ones');
  require(equal(toolPcrBlob(registers, values), state.bytes('quote.pcrs.tpm2-tools')), 'quote.pcrs.tpm2-tools holds other values');
  state.facts.pcrs = registers.map((pcr, i) => [pcr, toHex(values[i] ?? new Uint8Array())]);
  state.quotedPcr = value;
  state.quote = quote;
  return 'signed by the attestation key over this log, checkpoint and nonce';
});

function checkNonce({ state, info }: Known): void {
  if (state.policy.nonce === undefined) {
    state.unchecked.push('freshness: no nonce was given, so the quote may be old');
    return state.checks.skip('nonce', 'no nonce was given');
  }
  if (!equal(state.policy.nonce, info.nonce)) {
    return state.checks.fail('nonce', 'TAMPERED', 'the quote answers another nonce: it may be an old one, shown again', 'attest.json');
  }
  state.checks.pass('nonce', 'the quote answers the given nonce');
}

const checkCounter = (known: Known): Promise<void> => attempt(known.state, 'counter', 'counter.attest', async () => {
  const { state, audit, record } = known;
  const attest = await openNv(record, attestationOf(state, 'counter', audit.certifyCounter), await expectedOf(known), record.counterName, 8);
  checkForms(state, 'counter', audit.certifyCounter);
  state.counter = { value: counterOf(attest), attest };
  return `C = ${state.counter.value}`;
});

const checkIndex = (known: Known): Promise<void> => attempt(known.state, 'index', 'index.attest', async () => {
  const { state, audit, record } = known;
  const attest = await openNv(record, attestationOf(state, 'index', audit.certifyIndex), await expectedOf(known), record.indexName, 32);
  checkForms(state, 'index', audit.certifyIndex);
  state.index = { value: attest.nvContents, attest };
  return `X = ${toHex(attest.nvContents)}`;
});

/** A receipt over its own qualifying data, the nonce zero; gives its quote. */
async function openReceipt(record: ProvisioningRecord, logId: Bytes, receipt: Receipt): Promise<Attest> {
  require(receipt.epoch === (record.epoch?.number ?? 0), 'receipt: of another epoch');
  const over = async (purpose: Purpose): Promise<Omit<Expected, 'type'>> =>
    ({ qualifying: await qualifyingData(purpose, logId, receipt.number, receipt.digest, new Uint8Array(32)) });
  const quote = await openQuote(record, receipt.quote, await over('receipt-quote'));
  const counter = await openNv(record, receipt.certifyCounter, await over('certify-C'), record.counterName, 8);
  const index = await openNv(record, receipt.certifyIndex, await over('certify-X'), record.indexName, 32);
  const counted = counterOf(counter);
  require(counted === receipt.counter && counted - record.counterStart === receipt.number,
    'receipt: the certified counter is not that of its number');
  require(equal(index.nvContents, receipt.index), 'receipt: the certified index is not the one it names');
  require([counter.resetCount, index.resetCount, receipt.resetCount].every((boot) => boot === quote.resetCount),
    'receipt: its parts were made in different boots');
  if (receipt.quote.pcrValues.length !== 0) {
    const value = await quotedValue(quote, receipt.quote.pcrValues, record.pcr);
    require(value !== undefined && equal(value, receipt.pcr), 'receipt: the quoted PCR is not the one it names');
  }
  return quote;
}

async function checkReceipt({ state, info, audit, record }: Known): Promise<void> {
  try {
    if (!state.members.has('receipt.json')) {
      require(audit.anchor === 0, `anchor ${audit.anchor} has no receipt here`);
      return state.checks.pass('receipt', 'there is no anchor yet');
    }
    const receipt = decodeReceipt(state.text('receipt.json'));
    const quote = await openReceipt(record, info.logId, receipt);
    require(receipt.number === audit.anchor, `it is not that of anchor ${audit.anchor}`);
    state.facts.anchor = receipt.number;
    state.facts.anchoredSize = receipt.size;
    state.receipt = receipt;
    state.receiptQuote = quote;
    state.checks.pass('receipt', `anchor ${receipt.number} over ${receipt.size} entries`);
  } catch (error) {
    state.checks.fail('receipt', 'TAMPERED', reason(error), 'receipt.json');
  }
}

function checkBoot({ state, record }: Known): void {
  const { quote, counter, index, receiptQuote } = state;
  if (quote === undefined || counter === undefined || index === undefined) {
    return state.checks.skip('boot', 'the quote or a certification failed');
  }
  const fail = (word: Word, detail: string): void => state.checks.fail('boot', word, detail, 'quote.attest');
  if ([counter.attest, index.attest].some((one) => one.resetCount !== quote.resetCount || one.restartCount !== quote.restartCount)) {
    return fail('TAMPERED', 'quote, counter and index were signed in different boots');
  }
  if (quote.resetCount < record.resetCount) {
    return fail('ROLLED_BACK', `the TPM was reset ${quote.resetCount} times, ${record.resetCount} when the log was provisioned`);
  }
  if (receiptQuote !== undefined) {
    if (quote.resetCount < receiptQuote.resetCount) return fail('ROLLED_BACK', 'the TPM was reset fewer times than at its last anchor');
    if (quote.resetCount === receiptQuote.resetCount && quote.clockMs < receiptQuote.clockMs) {
      return fail('ROLLED_BACK', "the TPM's clock stands before its last anchor of the same boot");
    }
    state.gap = quote.resetCount > receiptQuote.resetCount + 1;
  }
  state.checks.pass('boot', `resetCount ${quote.resetCount}, restartCount ${quote.restartCount}, clock ${quote.clockMs} ms`);
}

/** What the X-chain starts at: X0, or the X of the receipt before the first listed anchor. */
async function chainStart({ state, info, record }: Known): Promise<Bytes> {
  if (info.anchorsFirst <= 1) return record.indexStart;
  const before = decodeReceipt(state.text('receipt-before.json'));
  await openReceipt(record, info.logId, before);
  require(before.number + 1 === info.anchorsFirst, 'receipt-before.json is of another anchor');
  return before.index;
}

/** Every note of an anchor: it hashes to its digest, is signed by this log, and sizes grow. */
async function checkAnchorNotes({ state, audit }: Known, anchors: AnchorEvent[]): Promise<void> {
  let lastSize = 0;
  for (const anchor of anchors) {
    if (anchor.note === undefined || state.key === undefined) continue;
    const opened = await openCheckpoint(anchor.note, state.key);
    require(equal(opened.digest, anchor.digest) && equal(await sha256(utf8(anchor.note)), anchor.digest),
      `the note of anchor ${anchor.number} is not the one that was anchored`);
    require(opened.size > lastSize, 'the sizes of the anchors do not grow');
    require(anchor.number !== audit.anchor || opened.size === state.receipt?.size, 'the receipt names another size than its checkpoint');
    lastSize = opened.size;
    state.anchoredRoots.set(lastSize, toHex(opened.root));
  }
}

async function followChain(known: Known): Promise<{ newest: number; atReceipt: Bytes; atNewest: Bytes }> {
  const { state, info, audit, record } = known;
  const anchors = parseAnchorsCel(state.text('anchors.cel'), record.indexHandle);
  const first = anchors[0];
  require(anchors.length === info.anchorsCount && (first === undefined || first.number === info.anchorsFirst),
    'anchors.cel does not list what bundle.json says');
  let value = await chainStart(known);
  let atReceipt = value;
  for (const anchor of anchors) {
    value = await sha256(value, anchor.digest);
    if (anchor.number !== audit.anchor) continue;
    atReceipt = value;
    require(state.receipt !== undefined && equal(anchor.digest, state.receipt.digest) && anchor.note !== undefined,
      'the newest anchor is not that of its receipt, or its note is missing');
  }
  const newest = anchors.at(-1)?.number ?? 0;
  require((newest === audit.anchor || newest === audit.anchor + 1) && (audit.anchor === 0 || info.anchorsFirst <= audit.anchor),
    `the list ends at anchor ${newest}, the receipt is of ${audit.anchor}`);
  require(state.receipt === undefined || equal(atReceipt, state.receipt.index), 'the listed anchors do not lead to the X of the receipt');
  await checkAnchorNotes(known, anchors);
  return { newest, atReceipt, atNewest: value };
}

async function checkAnchors(known: Known): Promise<void> {
  const { state, info, audit, record } = known;
  const { counter, index } = state;
  const fail = (word: Word, detail: string): void => state.checks.fail('anchors', word, detail, 'anchors.cel');
  if (state.key === undefined || counter === undefined || index === undefined || !state.checks.passed('receipt')) {
    return state.checks.skip('anchors', 'the checkpoint, a certification or the receipt failed');
  }
  let chain;
  try {
    chain = await followChain(known);
  } catch (error) {
    return fail('TAMPERED', reason(error));
  }
  const counted = counter.value - record.counterStart;
  if (counted < audit.anchor) return fail('ROLLED_BACK', 'the TPM counted fewer anchors than there are');
  if (counted > chain.newest) {
    return fail('ROLLED_BACK', `the TPM counted ${counted} anchors, this evidence shows ${chain.newest}`);
  }
  const atNewest = equal(index.value, chain.atNewest);
  if (!atNewest && !equal(index.value, chain.atReceipt)) return fail('TAMPERED', 'X is not on the chain of these anchors');
  if (counted > audit.anchor && !atNewest) return fail('TAMPERED', 'an anchor was counted that is not in X');
  state.checks.pass('anchors', `${counted} anchors, from ${info.anchorsFirst <= 1 ? 'the first' : info.anchorsFirst} on, lead to the certified X`);
}

/** Where the register's replay begins. */
function replayStart({ state, info, record }: Known): Bytes {
  if (info.pcrFromBaseline) return record.pcrBaseline;
  const { receipt, receiptQuote, quote } = state;
  require(receipt !== undefined && receipt.quote.pcrValues.length !== 0, 'there is no receipt to begin at');
  require(receiptQuote?.resetCount === quote?.resetCount && receiptQuote?.restartCount === quote?.restartCount,
    'the receipt it begins at is of another boot');
  return receipt.pcr;
}

async function replayEvents(known: Known): Promise<Bytes> {
  const { state, info, audit, record } = known;
  const events = parseEventLog(state.bytes('checkpoints.tcg'), record.pcr);
  require(events.length === info.pcrEvents, 'it does not hold as many events as bundle.json says');
  require(isCheckpointsCel(state.bytes('checkpoints.cel'), record.pcr, events), 'checkpoints.cel says something else');
  let value = replayStart(known);
  let lastSize = 0;
  for (const [i, event] of events.entries()) {
    require(state.key !== undefined, 'there is no key of the log');
    const opened = await openCheckpoint(decodeText(event.note), state.key);
    require(equal(await sha256(event.note), event.digest), `event ${i}: the digest is not its data's`);
    require(opened.size > lastSize, `event ${i}: its size does not grow`);
    lastSize = opened.size;
    value = await sha256(value, event.digest);
  }
  const newest = events.at(-1)?.digest ?? state.receipt?.digest;
  require(newest !== undefined && equal(newest, audit.digest), 'the quoted checkpoint is not the newest event');
  return value;
}

async function checkPcrLog(known: Known): Promise<void> {
  const { state, info, record } = known;
  const { quotedPcr } = state;
  if (state.key === undefined || state.checkpoint === undefined || quotedPcr === undefined || !state.checks.passed('receipt')) {
    return state.checks.skip('pcr_log', 'the checkpoint, the quote or the receipt failed');
  }
  let value;
  try {
    value = await replayEvents(known);
  } catch (error) {
    return state.checks.fail('pcr_log', 'TAMPERED', reason(error), 'checkpoints.tcg');
  }
  if (!equal(value, quotedPcr)) {
    return state.checks.fail('pcr_log', 'FOREIGN_EXTEND', `PCR ${record.pcr} is not what these checkpoints make: something else was ` +
      'extended, or the log was rolled back within this boot', 'checkpoints.tcg');
  }
  state.checks.pass('pcr_log', `${info.pcrEvents} checkpoints give the quoted PCR ${record.pcr}`);
}

/** The firmware's event log against the quoted registers it speaks of. Nobody signs it: it explains what the TPM signed. */
async function checkBootLog({ state, record }: Known): Promise<void> {
  if (!state.members.has('boot.tcg')) {
    return state.checks.skip('boot_log',
      record.softwareTpm ? 'a software TPM knows nothing of the firmware' : 'the bundle carries no boot event log');
  }
  if (state.quote === undefined) return state.checks.skip('boot_log', 'the quote failed');
  let replayed;
  try {
    replayed = await replayBootLog(state.bytes('boot.tcg'));
  } catch (error) {
    return state.checks.fail('boot_log', 'DAMAGED', reason(error), 'boot.tcg');
  }
  for (const [pcr, quoted] of state.facts.pcrs) {
    const one = replayed[pcr];
    if (one === undefined) continue;
    const value = toHex(one.value);
    state.facts.bootRegisters.push({ pcr, events: one.events, value, quoted: value === quoted });
  }
  const wrong = state.facts.bootRegisters.filter((one) => !one.quoted).map((one) => one.pcr).join(', ');
  if (wrong !== '') {
    return state.checks.fail('boot_log', 'FOREIGN_EXTEND', `the boot event log does not give the quoted PCR ${wrong}`, 'boot.tcg');
  }
  state.checks.pass('boot_log', 'the boot event log gives the quoted PCR 0 to 7');
}

function checkExpectedPcrs({ state }: Known): void {
  const expected = state.policy.expectedPcrs;
  if (expected === undefined || expected.size === 0) return state.checks.skip('expected_pcrs', 'no expected values were given');
  if (state.quote === undefined) return state.checks.skip('expected_pcrs', 'the quote failed');
  const quoted = new Map(state.facts.pcrs);
  for (const [pcr, value] of expected) {
    if (quoted.get(pcr) === toHex(value)) continue;
    const how = quoted.has(pcr) ? 'is not as expected' : 'is not quoted';
    return state.checks.fail('expected_pcrs', 'TAMPERED', `PCR ${pcr} ${how}`, 'quote.pcrs');
  }
  state.checks.pass('expected_pcrs', `${expected.size} registers are as expected`);
}

export async function checkTpm(state: VerifyState): Promise<void> {
  const { info, audit, record } = state;
  if (info === undefined || audit === undefined || record === undefined) return;
  const known = { state, info, audit, record };
  await checkQuote(known);
  checkNonce(known);
  await checkCounter(known);
  await checkIndex(known);
  await checkReceipt(known);
  checkBoot(known);
  await checkAnchors(known);
  await checkPcrLog(known);
  await checkBootLog(known);
  checkExpectedPcrs(known);
}
