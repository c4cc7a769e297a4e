// Goal: what a TPM signed is read field by field and believed only whole. Method: structures of a software TPM, every
// truncation, flipped bits, and anchors of the fixture log with each member changed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bitFlips } from './support.js';
import { FixtureLog } from '../../../tests/browser/fixture_log.mjs';
import { parseAttest, parseEcdsaSignature, pemToDer, quotedValue, verifyAttestSignature } from '../src/verify/attest.js';
import { concat, fromBase64, fromHex, toHex } from '../src/verify/bytes.js';
import { type AnchorData, verifyAnchor } from '../src/verify/anchor.js';
import * as tpm from './tpm_vectors.js';

const quote = fromBase64(tpm.QUOTE);
const signature = fromBase64(tpm.QUOTE_SIGNATURE);

test('a quote of a software TPM is parsed and its signature verifies', async () => {
  const attest = parseAttest(quote);
  assert.equal(attest.type, 'quote');
  assert.equal(toHex(attest.extraData), '5a'.repeat(32));
  assert.deepEqual(attest.pcrs, [{ hash: 0x000b, pcrs: [14] }]);
  assert.equal(attest.safe, true);
  assert.equal(attest.resetCount, 1);
  assert.equal(attest.fields.reduce((sum, f) => sum + f.length, 0), quote.length, 'the fields cover every byte');
  assert.ok(await verifyAttestSignature(tpm.AK_PEM, quote, signature));
});

test('the quoted registers are found by their values only', async () => {
  const [, , pcr14 = ''] = tpm.PCRS;
  const one = parseAttest(quote);
  const three = parseAttest(fromBase64(tpm.QUOTE3));
  assert.deepEqual(three.pcrs[0]?.pcrs, [0, 7, 14]);
  assert.ok(await verifyAttestSignature(tpm.AK_PEM, fromBase64(tpm.QUOTE3), fromBase64(tpm.QUOTE3_SIGNATURE)));
  const values = tpm.PCRS.map(fromHex);
  assert.equal(toHex((await quotedValue(one, [fromHex(pcr14)], 14)) ?? new Uint8Array()), pcr14);
  assert.equal(toHex((await quotedValue(three, values, 14)) ?? new Uint8Array()), pcr14);
  assert.equal(await quotedValue(three, values, 13), undefined, 'a register that is not quoted');
  assert.equal(await quotedValue(three, [...values].reverse(), 14), undefined, 'another order');
  assert.equal(await quotedValue(three, values.slice(1), 14), undefined);
  assert.equal(await quotedValue(one, [fromHex('00'.repeat(32))], 14), undefined);
});

test('an NV certification is parsed and verifies', async () => {
  const nv = parseAttest(fromBase64(tpm.NV));
  assert.equal(nv.type, 'nv');
  assert.equal(toHex(nv.nvName), '000b0412207b7b728d5004ce2a73c4cd148941799972efbcea007a8619780f56bc55');
  assert.equal(toHex(nv.nvContents), '0000000000000001');
  assert.ok(await verifyAttestSignature(tpm.AK_PEM, fromBase64(tpm.NV), fromBase64(tpm.NV_SIGNATURE)));
});

test('every truncation, and one byte too many, is refused', () => {
  for (const whole of [quote, fromBase64(tpm.NV)]) {
    for (let n = 0; n < whole.length; n++) assert.throws(() => parseAttest(whole.slice(0, n)), `${n} bytes`);
    assert.throws(() => parseAttest(concat(whole, new Uint8Array(1))));
  }
  for (let n = 0; n < signature.length; n++) assert.throws(() => parseEcdsaSignature(signature.slice(0, n)));
  assert.throws(() => parseEcdsaSignature(concat(signature, new Uint8Array(1))));
});

test('no flipped bit passes', async () => {
  for (const damaged of bitFlips(quote)) {
    const passes = await verifyAttestSignature(tpm.AK_PEM, damaged, signature);
    assert.ok(!passes);
  }
  for (const damaged of bitFlips(signature)) {
    let passes = false;
    try {
      passes = await verifyAttestSignature(tpm.AK_PEM, quote, damaged);
    } catch {
      passes = false;
    }
    assert.ok(!passes);
  }
});

test('short integers of a signature are padded on the left', () => {
  const short = fromHex('0018000b' + '0001' + '07' + '0002' + '0102');
  assert.equal(toHex(parseEcdsaSignature(short)), '00'.repeat(31) + '07' + '00'.repeat(30) + '0102');
  assert.throws(() => parseEcdsaSignature(fromHex('0018000b' + '0000' + '0001' + '01')));
  assert.throws(() => parseEcdsaSignature(fromHex('0014000b' + '0001' + '07' + '0001' + '01')), 'RSA');
});

test('only a PEM public key is one', () => {
  for (const pem of ['', 'x', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', `${tpm.AK_PEM}${tpm.AK_PEM}`]) assert.throws(() => pemToDer(pem));
});

/* ---- anchors ---- */
const log = new FixtureLog();
for (let i = 0; i < 3; i++) {
  log.append('syslog', Buffer.from(`event ${i}`));
  log.checkpoint(true);
}
const anchors = log.anchors as AnchorData[];
const logId = log.logId.toString('hex');
const provisioning = log.provisioning();
const judge = (anchor: AnchorData, p = provisioning, id = logId) => verifyAnchor(anchor, p, id, anchors);

test('true anchors verify, chained from the provisioning on', async () => {
  for (const anchor of anchors) {
    const verdict = await judge(anchor);
    assert.ok(verdict.ok, verdict.why);
    assert.ok(verdict.checks.every((check) => check.ok === true));
  }
});

test('the qualifying data is computed here, not believed', async () => {
  const [anchor] = anchors as [AnchorData];
  assert.ok((await judge({ ...anchor, qualifying: { quote: '00', counter: '00', index: '00' } })).ok, 'what the appliance says of it does not matter');
  assert.ok(!(await judge(anchor, provisioning, '00'.repeat(32))).ok, 'another log');
});

test('each member of a receipt that lies is caught', async () => {
  const [first, second] = anchors as [AnchorData, AnchorData];
  const other = new FixtureLog();
  const lies: Partial<AnchorData>[] = [
    { number: 3 }, { digest: '00'.repeat(32) }, { counter: second.counter + 1 }, { index: first.index }, { pcr: first.pcr }, { reset_count: 8 },
    { quote: first.quote }, { certify_counter: first.certify_counter }, { certify_index: first.certify_index }, { quote: second.certify_counter },
    { certify_counter: second.certify_index }, { quote: { ...second.quote, signature_b64: first.quote.signature_b64 } }, { quote: { ...second.quote, attest_b64: '' } },
    { quote: { ...second.quote, pcr_values: (second.quote.pcr_values ?? []).slice(1) } }];
  for (const lie of lies) assert.ok(!(await judge({ ...second, ...lie })).ok, JSON.stringify(Object.keys(lie)));
  for (const change of [{ ak_public_pem: other.provisioning().ak_public_pem }, { counter_name: '00' }, { index_name: '00' }, { counter_start: 1 }, { pcr: 7 }]) {
    assert.ok(!(await judge(second, { ...provisioning, ...change })).ok, JSON.stringify(Object.keys(change)));
  }
});

test('a quote of many registers without their values leaves the register unchecked, and says so', async () => {
  const [anchor] = anchors as [AnchorData];
  const { pcr_values: values, ...quoteAlone } = anchor.quote;
  assert.ok(values !== undefined);
  const verdict = await judge({ ...anchor, quote: quoteAlone });
  assert.equal(verdict.checks.find((check) => check.name === 'PCR')?.ok, null);
});
