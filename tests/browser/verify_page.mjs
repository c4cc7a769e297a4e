// verify.html, as it came in a bundle, opened from the disk in a real browser (Debian's Chromium) that is offline. Every check is
// printed; the exit status is 1 when one fails.
//
//   node verify_page.mjs --page VERIFY.HTML --bundle EVIDENCE.TAR --nonce HEX --pin KEY.PEM --scratch DIR [--chromium PATH]
//
// The bundle must be good: an honest one of a software TPM with payloads.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';
import { check, finish } from './checks.mjs';

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at > 0 ? process.argv[at + 1] : fallback;
};
const need = (name) => option(name) ?? (console.error(`--${name} is missing`), process.exit(2));
const file = resolve(need('page'));
const bundle = readFileSync(need('bundle'));
const nonce = need('nonce');
const scratch = need('scratch');
mkdirSync(scratch, { recursive: true });

/* ---- the file, before any browser: its policy names its own script and style, and nothing else ---- */
const source = readFileSync(file, 'utf8');
const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(source)?.[1] ?? '';
const hashOf = (tag) => createHash('sha256').update(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`).exec(source)?.[1] ?? '').digest('base64');
for (const part of ["default-src 'none'", "connect-src 'none'", "form-action 'none'", "base-uri 'none'", "trusted-types 'none'",
  `script-src 'sha256-${hashOf('script')}'`, `style-src 'sha256-${hashOf('style')}'`]) {
  check(policy.split('; ').includes(part), `the policy holds ${part}`, policy);
}
check(!/unsafe|https?:|\*/.test(policy), 'and nothing that opens it');

/* ---- the browser ---- */
const browser = await chromium.launch({ executablePath: option('chromium', '/usr/bin/chromium'), args: ['--no-sandbox'] });
const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, colorScheme: 'light', reducedMotion: 'reduce', offline: true });
const page = await context.newPage();
page.setDefaultTimeout(20_000);
const problems = [];
const requests = [];
const address = pathToFileURL(file).href;
await page.exposeFunction('__steleReport', (text) => problems.push(text));
await page.addInitScript(() => {
  document.addEventListener('securitypolicyviolation', (event) => {
    window.__steleReport(`policy violation: ${event.violatedDirective} ${event.blockedURI}`);
  });
});
page.on('dialog', (dialog) => { problems.push(`a dialog opened: ${dialog.message()}`); void dialog.dismiss(); });
page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
page.on('popup', () => problems.push('a window opened'));
page.on('console', (message) => { if (message.type() === 'error') problems.push(`console: ${message.text()}`); });
page.on('request', (request) => requests.push(request.url()));

/** A copy with one bit of a member's content changed, the archive whole. */
function altered(member, at) {
  for (let block = 0; bundle[block] !== 0;) {
    const name = bundle.toString('latin1', block, block + 100).split('\0', 1)[0];
    const size = Number.parseInt(bundle.toString('latin1', block + 124, block + 135), 8);
    if (name === `evidence/${member}`) {
      const copy = Buffer.from(bundle);
      copy[block + 512 + at] ^= 1;
      return copy;
    }
    block += 512 + 512 * Math.ceil(size / 512);
  }
  throw new Error(`the bundle has no ${member}`);
}

const given = (buffer) => ({ name: 'evidence.tar', mimeType: 'application/x-tar', buffer });
/** What the page says of these bytes: the verdict's words, whether it is a good one, how many records it shows. */
async function verdict(buffer, withNonce = nonce) {
  await page.goto(address);
  await page.setInputFiles('#bundle', given(buffer));
  await page.fill('#nonce', withNonce);
  await page.setInputFiles('#pin', need('pin'));
  await page.click('button.primary');
  await page.waitForSelector('.verdict');
  return { words: await page.textContent('.verdict'), good: await page.$('.verdict.good') !== null,
    failed: await page.$$eval('.checks .bad', (rows) => rows.map((row) => row.textContent)),
    rows: await page.$$eval('.records tbody tr', (rows) => rows.length), text: await page.textContent('main') };
}

const honest = await verdict(bundle);
check(honest.good && /^OK \(SOFTWARE_TPM\)$/.test(honest.words), 'an honest bundle is good, pinned, and its software TPM is named', honest.words);
check(honest.rows > 0, 'and its records are shown', `${honest.rows}`);
check(honest.failed.length === 0, 'no check fails', honest.failed.join(' | '));
check(honest.text.includes('take this file from a release'), 'the page says what it is not');
await page.screenshot({ path: join(scratch, 'verify-page-good.png'), fullPage: true });

for (const [member, at, name] of [['records/000000.payloads', 40, 'records'], ['quote.attest', 60, 'quote'], ['checkpoint', 3, 'checkpoint']]) {
  const bad = await verdict(altered(member, at));
  check(!bad.good && bad.words.startsWith('TAMPERED') && bad.failed.some((row) => row.startsWith(name)), `an altered ${member} is refused`, bad.words);
  check(bad.rows === 0, 'and no record of it is shown', `${bad.rows}`);
}
await page.screenshot({ path: join(scratch, 'verify-page-tampered.png'), fullPage: true });
const cut = await verdict(bundle.subarray(0, 20_000));
check(!cut.good && cut.words.startsWith('DAMAGED'), 'a bundle that is cut short is refused', cut.words);
const replayed = await verdict(bundle, '00'.repeat(32));
check(!replayed.good && replayed.failed.some((row) => row.startsWith('nonce')), 'another nonce than the one quoted is refused', replayed.words);

/* ---- what must never have happened; then the proof that it would have been seen ---- */
check(requests.every((one) => one === address), 'no request but the file itself', requests.filter((one) => one !== address).slice(0, 3).join(' '));
check(problems.length === 0, 'no policy violation, error, dialog or window', problems.slice(0, 5).join(' | '));
/** Events of the page reach us a little later: waits for one, at most five seconds. */
async function seen(part) {
  for (const end = Date.now() + 5000; Date.now() < end;) {
    if (problems.some((text) => text.includes(part))) return true;
    await new Promise((go) => setTimeout(go, 20));
  }
  return false;
}
await context.setOffline(false);
problems.length = 0;
const outcome = await page.evaluate(() => fetch('http://127.0.0.1:9/').then(() => 'answered', (error) => error.name));
check(outcome === 'TypeError' && await seen('policy violation: connect-src'), 'a planted connection is stopped by the policy, and seen', `${outcome} ${problems.join(' | ')}`);
problems.length = 0;
await page.evaluate(() => {
  const button = document.createElement('button');
  button.setAttribute('onclick', 'window.__stele_ran = 1');
  document.body.append(button);
  button.click();
}).catch(() => undefined);
check(await seen('policy violation') && (await page.evaluate(() => window.__stele_ran)) === undefined,
  'a planted handler does not run, and is seen', problems.join(' | '));
await browser.close();
finish();
