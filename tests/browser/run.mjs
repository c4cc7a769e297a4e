// The viewer, driven in a real browser (Debian's Chromium) against a running stele-web. Needs nothing but this folder's
// `npm ci`. Every check is printed; the exit status is 1 when one fails.
//
//   node run.mjs --url https://localhost:9443/ --ca CA.pem --cert CLIENT.pem --key CLIENT.key --user NAME --password WORD
//                --scratch DIR [--hostile WORD] [--syslog-udp HOST:PORT | --live WORD] [--evidence DIR --nonce HEX] [--chromium PATH]
//
// --hostile: the caller has sent the lines of hostile_events.mjs with this marker before. --syslog-udp: where this program
// sends its own record to see it in the live tail; --live: a word that some sender keeps sending instead. --evidence: where the
// bundles it downloads go (range.tar, search.tar), made with the nonce, for the caller to audit.
import { spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { mkdirSync, readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check, finish } from './checks.mjs';

const option = (name, fallback) => {
  const at = process.argv.indexOf(`--${name}`);
  return at > 0 ? process.argv[at + 1] : process.env[`STELE_${name.toUpperCase().replace('-', '_')}`] ?? fallback;
};
const need = (name) => option(name) ?? (console.error(`--${name} is missing`), process.exit(2));

const url = new URL(need('url'));
const ca = need('ca');
const scratch = need('scratch');

// Node reads extra authorities when it starts; the browser test then trusts exactly this one for client-certificate pages.
if (process.env.NODE_EXTRA_CA_CERTS !== ca) {
  const again = spawnSync(process.execPath, [fileURLToPath(import.meta.url), ...process.argv.slice(2)],
    { stdio: 'inherit', env: { ...process.env, NODE_EXTRA_CA_CERTS: ca } });
  process.exit(again.status ?? 1);
}
const { chromium } = await import('playwright-core');
mkdirSync(scratch, { recursive: true });

/* ---- the server, before any browser: its certificate under the CA, its policy ---- */
function head(path) {
  return new Promise((resolve, reject) => {
    httpsRequest(new URL(path, url), { ca: readFileSync(ca), method: 'GET' }, (response) => {
      const certificate = new X509Certificate(response.socket.getPeerCertificate(true).raw);
      const spki = createHash('sha256').update(certificate.publicKey.export({ type: 'spki', format: 'der' })).digest('base64');
      response.resume();
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, spki }));
    }).on('error', reject).end();
  });
}
const front = await head('/');
check(front.status === 200, 'the page is served, under the given CA');
const policy = String(front.headers['content-security-policy'] ?? '');
for (const part of ["default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'", "trusted-types 'none'", "frame-ancestors 'none'"]) {
  check(policy.includes(part), `the policy holds ${part}`);
}

/* ---- the browser ---- */
const browser = await chromium.launch({
  executablePath: option('chromium', '/usr/bin/chromium'),
  // Without a client certificate the browser itself checks the server: this one key is trusted, no other.
  args: ['--no-sandbox', `--ignore-certificate-errors-spki-list=${front.spki}`, '--font-render-hinting=none'],
});
const problems = [];

async function open(kind, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 }, colorScheme: 'light', reducedMotion: 'reduce', timezoneId: 'Pacific/Chatham', locale: 'en-GB',
    ...(kind === 'certificate' ? { clientCertificates: [{ origin: url.origin, certPath: need('cert'), keyPath: need('key') }] } : {}), ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  await page.exposeFunction('__steleReport', (text) => problems.push(text));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      window.__steleReport(`policy violation: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  page.on('dialog', (dialog) => { problems.push(`a dialog opened: ${dialog.message()}`); void dialog.dismiss(); });
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
  page.on('popup', () => problems.push('a window opened'));
  page.on('console', (message) => {
    // The browser itself logs an answer of 400 or 401 as an error; these are asked for below.
    if (message.type() === 'error' && !/status of 40[01]/.test(message.text())) problems.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== url.origin && !request.url().startsWith('data:')) problems.push(`a request left: ${request.url()}`);
  });
  return { context, page };
}

const at = (hash) => new URL(`/${hash}`, url).href;
const shot = (page, name) => page.screenshot({ path: join(scratch, `${name}.png`) });
const states = (page) => page.$$eval('.results .row', (rows) => rows.map((row) => [Number(row.dataset.seq), row.dataset.state]));

/** Waits until no visible row is still being checked. */
async function settled(page) {
  await page.waitForSelector('.results .row');
  await page.waitForFunction(() => [...document.querySelectorAll('.results .row')].every((row) => row.dataset.state !== 'checking'));
  return states(page);
}
const goodState = ([, state]) => state === 'proven' || state === 'part';

async function search(page, parameters) {
  await page.goto('about:blank');
  await page.goto(at(`#/search?${new URLSearchParams(parameters)}`));
}

async function section(name, work) {
  try {
    await work();
  } catch (error) {
    check(false, name, String(error.message).split('\n').slice(0, 3).join(' '));
    const pages = browser.contexts().flatMap((c) => c.pages());
    await pages.at(-1)?.screenshot({ path: join(scratch, `failed-${name.replaceAll(' ', '-')}.png`) }).catch(() => undefined);
  }
}

/* ---- signing in with a password ---- */
await section('password', async () => {
  const { context, page } = await open('password');
  await page.goto(url.href);
  await page.fill('input[name=user]', need('user'));
  await page.fill('input[name=password]', 'certainly wrong');
  await page.click('button[type=submit]');
  await page.waitForSelector('form [role=alert]');
  check(true, 'a wrong password is refused');
  await page.fill('input[name=password]', need('password'));
  await page.click('button[type=submit]');
  await page.waitForSelector('.who');
  check((await page.textContent('.who')).includes(need('user')), 'a name and its password sign in');
  const rows = await settled(page).catch(() => []);
  check(rows.length === 0 || rows.every(goodState), 'rows verify after a password sign-in');
  await page.click('text=Sign out');
  await page.waitForSelector('input[name=password]');
  await page.reload();
  check(await page.waitForSelector('input[name=password]').then(() => true), 'signing out ends the session');
  await context.close();
});

const { context, page } = await open('certificate');

/* ---- search, with a client certificate ---- */
await section('search', async () => {
  await search(page, { last: 'all' });
  await page.waitForSelector('.who');
  check((await page.textContent('.who')).includes('certificate'), 'a client certificate signs in by itself');
  const rows = await settled(page);
  check(rows.length >= 5, 'a search lists rows', `${rows.length}`);
  check(rows.every(goodState) && rows.some(([, s]) => s === 'proven'), 'every visible row is proven', JSON.stringify(rows.filter((r) => !goodState(r)).slice(0, 4)));
  await page.waitForSelector('.pill.good');
  check(true, 'the newest checkpoint is signed by the pinned key and remembered');
  check(/of [\d\s\u202f]+ events/.test(await page.textContent('.caption')), 'the caption says N of M');
  await page.waitForSelector('.histogram canvas');
  await shot(page, 'search-light');
});

await section('keyboard and drawer', async () => {
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  check(await page.$eval('.row.selected', (row) => row.getAttribute('aria-rowindex')) === '2', 'j and k move the selection');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.drawer .verdict.good');
  check((await page.textContent('.drawer .verdict')).includes('Proven'), 'the drawer proves the whole payload');
  check((await page.$$('.drawer .checks li.good')).length >= 4, 'the drawer shows the steps of the proof');
  check((await page.$$('.drawer .hex-line')).length >= 1, 'the drawer shows the raw bytes');
  await shot(page, 'search-drawer-light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.waitForTimeout(200);
  await shot(page, 'search-drawer-dark');
  await page.keyboard.press('Escape');
  check((await page.$('.drawer')) === null, 'Escape closes the drawer');
  await shot(page, 'search-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.keyboard.press('c');
  await page.waitForSelector('.context-bar');
  check((await settled(page)).every(goodState), 'the context of a row is proven too');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.waitForSelector('.help');
  await page.keyboard.press('Escape');
});

await section('query', async () => {
  await page.click('.facet[aria-label="filter by severity"] .facet-value >> nth=0');
  await page.waitForFunction(() => document.querySelector('.query').value.includes('severity:'));
  await settled(page);
  check(true, 'a facet writes into the query');
  await page.keyboard.press('/');
  await page.fill('.query', 'OR broken');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.query-error');
  check((await page.textContent('.query-error')).includes('column'), 'a bad query is explained, with its column');
});

/* ---- one digit of one sibling hash changed on the way ---- */
async function altered(name, change) {
  const other = await open('certificate');
  let victim = null;
  await other.page.route('**/api/v1/search?*', async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    victim = change(body) ?? null;
    await route.fulfill({ response, body: JSON.stringify(body) });
  });
  await search(other.page, { last: 'all' });
  const rows = await settled(other.page);
  return { ...other, rows, victim, name };
}
const flipHex = (text, i) => text.slice(0, i) + (text[i] === '0' ? '1' : '0') + text.slice(i + 1);

async function oneFalse(name, change) {
  await section(name, async () => {
    const { context: c, page: p, rows, victim } = await altered(name, change);
    const bad = rows.filter(([, s]) => s === 'false').map(([seq]) => seq);
    check(victim !== null && bad.length === 1 && bad[0] === victim, `${name}: exactly that row is false`, `victim ${victim}, false ${bad}`);
    check(rows.filter(([seq]) => seq !== victim).every(goodState) && rows.length > 1, `${name}: all the others stay proven`);
    const text = await p.textContent(`.row[data-seq="${victim}"] .proof`);
    check(text.includes('FALSE') && (await p.$(`.row[data-seq="${victim}"] .mark.bad`)) !== null, `${name}: shape and word, not colour alone`);
    await p.click(`.row[data-seq="${victim}"]`);
    await p.waitForSelector('.drawer .verdict.bad');
    check((await p.$$('.drawer .checks li.bad')).length >= 1, `${name}: the drawer says which step failed`);
    await shot(p, `altered-${name.replaceAll(' ', '-')}`);
    await c.close();
  });
}
await oneFalse('altered sibling', (body) => {
  const row = body.rows[Math.min(3, body.rows.length - 1)];
  row.proof[1] = flipHex(row.proof[1], 17);
  return row.seq;
});
await oneFalse('altered payload', (body) => {
  const row = body.rows.filter((r) => r.payload_whole)[2];
  const bytes = Buffer.from(row.payload_b64, 'base64');
  bytes[bytes.length - 1] ^= 1;
  row.payload_b64 = bytes.toString('base64');
  return row.seq;
});
await oneFalse('altered time', (body) => {
  const row = body.rows[1];
  row.time_ns = String(BigInt(row.time_ns) - 3_600_000_000_000n);
  return row.seq;
});
await oneFalse('withheld proof', (body) => {
  const row = body.rows[2];
  delete row.proof;
  return row.seq;
});
await section('altered root', async () => {
  const { context: c, page: p, rows } = await altered('altered root', (body) => {
    body.checkpoint.root = flipHex(body.checkpoint.root, 5);
    return 0;
  });
  check(rows.every(([, s]) => s === 'false'), 'a root that is not the signed one proves nothing');
  check((await p.$('.alarms')) !== null && (await p.$('.pill.bad')) !== null, 'and raises an alarm');
  await c.close();
});
await section('another log key', async () => {
  const other = await open('certificate');
  await other.page.goto(at('#/integrity'));
  await other.page.waitForSelector('.summary');
  await other.page.route('**/api/v1/integrity', async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    body.log_id = flipHex(body.log_id, 3);
    await route.fulfill({ response, body: JSON.stringify(body) });
  });
  await other.page.reload();
  await other.page.waitForSelector('.alarms');
  check((await other.page.textContent('.alarms')).includes('log id'), 'a changed pin is announced loudly');
  await other.page.waitForSelector('.card.changed');
  await shot(other.page, 'integrity-changed-pin');
  await other.context.close();
});
await section('a log rolled back', async () => {
  const other = await open('certificate');
  await search(other.page, { last: 'all' });
  await other.page.waitForSelector('.pill.good');
  await other.page.evaluate(() => {
    const visit = JSON.parse(localStorage.getItem('stele.visit.v1'));
    localStorage.setItem('stele.visit.v1', JSON.stringify({ ...visit, size: visit.size + 1_000_000 }));
  });
  await other.page.reload();
  await other.page.waitForSelector('.alarms');
  check((await other.page.textContent('.alarms')).includes('shorter'), 'a log shorter than remembered is announced');
  await other.context.close();
});

/* ---- hostile text ---- */
const RAW = String.raw`[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e0fff}]`;
const marker = option('hostile');
if (marker !== undefined) {
  await section('hostile text', async () => {
    await search(page, { q: marker, last: 'all' });
    await settled(page);
    const names = () => page.evaluate(() => [...new Set([...document.querySelectorAll('*')].map((e) => e.localName))].sort());
    const allowed = new Set(['html', 'head', 'meta', 'title', 'link', 'script', 'body', 'noscript', 'div', 'a', 'header', 'nav', 'span', 'svg', 'path', 'circle', 'button',
      'main', 'h1', 'h2', 'h3', 'form', 'input', 'kbd', 'canvas', 'strong', 'i', 'section', 'ul', 'li', 'ol', 'p', 'aside', 'details', 'summary', 'label', 'table', 'tbody', 'tr', 'th', 'td', 'mark']);
    const raw = () => page.evaluate((pattern) => [...document.querySelectorAll('#root, #root *')].flatMap((e) => [...e.childNodes, ...e.attributes])
      .filter((n) => n.nodeType === 3 || n.nodeName === 'title' || n.nodeName === 'aria-label').map((n) => n.nodeValue)
      .filter((text) => new RegExp(pattern, 'u').test(text.replaceAll('\n', ''))).slice(0, 3).map((t) => JSON.stringify(t)), RAW);
    let seen = 0;
    const strange = new Set();
    const leaked = [];
    await page.keyboard.press('Home');
    await page.keyboard.press('Enter');
    for (let i = 0; i < 400; i++) {
      await page.waitForSelector('.drawer[data-loaded=true]');
      for (const name of await names()) if (!allowed.has(name)) strange.add(name);
      leaked.push(...await raw());
      // Our own numbers are no log text: their thin space (which the corpus does not hold) must not be shown as a hostile one.
      if ((await page.textContent('.drawer')).includes('U+202F')) leaked.push('our own thin space, boxed');
      seen++;
      const before = await page.textContent('.drawer h2');
      await page.keyboard.press('j');
      await page.waitForTimeout(30);
      if ((await page.textContent('.drawer h2')) === before) break;
    }
    check(seen >= 40, 'each hostile event was opened', `${seen}`);
    check(strange.size === 0, 'no element came from log text', [...strange].join(' '));
    check(leaked.length === 0, 'no raw control, bidi or invisible character is on the page', leaked.slice(0, 3).join(' '));
    check((await page.evaluate(() => window.__stele_ran)) === undefined, 'no script of a log line ran');
    check((await page.title()) === 'Stele', 'the title is ours');
    const after = (await settled(page)).filter((r) => !goodState(r));
    check(after.length === 0, 'hostile rows are proven like any other', JSON.stringify(after.slice(0, 4)));
    if (after.length > 0) console.log(await page.getAttribute(`.row[data-seq="${after[0][0]}"] .proof`, 'title'));
    await page.keyboard.press('Home');
    await page.waitForTimeout(200);
    await shot(page, 'hostile');
  });
}

/* ---- evidence as a download ---- */
const evidence = option('evidence');
if (evidence !== undefined) {
  const fillAndTake = async (panel, name) => {
    await panel.locator('input[name=nonce]').fill(need('nonce'));
    const download = page.waitForEvent('download', { timeout: 60_000 });
    await panel.locator('button[type=submit]').click();
    const saved = await download;
    await saved.saveAs(join(evidence, name));
    await panel.locator('.evidence-done').waitFor();
    return saved.suggestedFilename();
  };
  await section('evidence', async () => {
    await search(page, { q: 'kind:syslog', last: 'all' });
    await settled(page);
    await page.keyboard.press('Home');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.drawer[data-loaded=true]');
    const seq = Number(await page.$eval('.row.selected', (row) => row.dataset.seq));
    await page.click('.drawer summary:has-text("Evidence")');
    const drawer = page.locator('.drawer .evidence');
    const button = drawer.locator('button[type=submit]');
    check(await button.isDisabled(), 'without a nonce there is nothing to download');
    await drawer.locator('text=Make one').click();
    check(/^[0-9a-f]{64}$/.test(await drawer.locator('input[name=nonce]').inputValue()) && await button.isEnabled(), 'a nonce can be made here');
    await drawer.locator('input[name=last]').fill(String(seq - 1));
    check(await button.isDisabled(), 'a range that ends before it begins is none');
    await drawer.locator('input[name=first]').fill(String(Math.max(1, seq - 9)));
    await drawer.locator('input[name=last]').fill(String(seq));
    await page.route('**/api/v1/bundle?*', (route) => route.fulfill({
      status: 400, contentType: 'application/json', body: '{"error":{"code":"bad_request","message":"too much for one bundle"}}' }));
    await button.click();
    await drawer.locator('.error').waitFor();
    check((await drawer.locator('.error').textContent()).includes('too much for one bundle'), 'a refusal is shown in its own words');
    await page.unroute('**/api/v1/bundle?*');
    check(await fillAndTake(drawer, 'range.tar') === `evidence-${Math.max(1, seq - 9)}-${seq}.tar`, 'a range of records is saved under its name');
    check((await drawer.locator('.evidence-done').textContent()).includes(`--nonce ${need('nonce')}`), 'and the page says how to check it');
    const copy = page.waitForEvent('download');
    await drawer.locator('a', { hasText: 'verify.html' }).click();
    await (await copy).saveAs(join(evidence, 'verify.html'));
    check(page.url().startsWith(url.href), 'verify.html is saved, not opened');
    await shot(page, 'evidence-drawer');
    await page.keyboard.press('Escape');
    await page.locator('.caption button', { hasText: 'Evidence' }).click();
    await fillAndTake(page.locator('.query-evidence'), 'search.tar');
    check((await page.textContent('.query-evidence')).includes('not that the search found every one'), 'a search says what its bundle does not prove');
    await shot(page, 'evidence-search');
    await page.locator('.caption button', { hasText: 'Evidence' }).click();
    check(await page.locator('.query-evidence').count() === 0, 'the panel closes');
  });
}

/* ---- integrity ---- */
await section('integrity', async () => {
  await page.goto(at('#/integrity'));
  await page.waitForSelector('.summary');
  check((await page.$('.summary.good')) !== null, 'everything on the Integrity screen verifies', await page.textContent('.summary'));
  const anchors = await page.$$eval('tr[data-anchor]', (rows) => rows.map((row) => row.dataset.state));
  check(anchors.length >= 1 && anchors.every((s) => s === 'proven'), 'every TPM quote verifies in the browser', anchors.join(' '));
  check((await page.textContent('.limit')).includes('stele audit'), 'the honest limit is on the screen');
  check((await page.textContent('.windows')).includes('records'), 'the two unprotected windows are shown');
  await page.evaluate(() => document.querySelector('.page').scrollTo(0, 0));
  await shot(page, 'integrity-light');
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot(page, 'integrity-dark');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.goto(at('#/sources'));
  await page.waitForSelector('.store');
  await page.waitForSelector('.card:has(.store) ~ .card .table tbody tr');
  const sources = await page.textContent('main');
  check(!/NaN|undefined|null|\[object/.test(sources) && /free/.test(sources), 'the Sources screen shows listeners, sources and room', sources.slice(0, 200));
  await shot(page, 'sources-light');
});

/* ---- network: of an appliance whose policy nobody enforces (what a guard writes: network_page.mjs) ---- */
await section('network', async () => {
  await page.goto(at('#/network'));
  await page.waitForSelector('.map');
  await page.waitForSelector('main[aria-busy=false]');
  check((await page.textContent('.summary')).includes('Not enforced') && (await page.$('.map .loose')) !== null, 'a policy that no process applies is not called enforced');
  const zones = await page.$$eval('.map .zone', (all) => all.map((one) => one.dataset.zone));
  check(zones.join(' ') === 'default operator' && (await page.textContent('.map .flow')).includes('127.128.0.61'), 'the zones and the flow of stele.toml are drawn', zones.join(' '));
  const viewer = await page.$$eval('.matrix tbody tr[data-zone=operator]', (rows) => rows.map((row) => row.textContent).join(' '));
  check(viewer.includes(`tcp/${url.port}`), 'the matrix names the port that the viewer really has', viewer);
  check(Number((await page.textContent('.counters tbody tr td:nth-child(2)')).replaceAll('\u202f', '')) > 50, 'the receiver\u2019s counters stand beside its zone');
  check((await page.textContent('[aria-labelledby=violations-title]')).includes('No violation') && (await page.textContent('[aria-labelledby=history-title]')).includes('no change of a policy'),
    'what the log does not hold is said to be absent');
  check(!/NaN|undefined|null|\[object/.test(await page.textContent('main')), 'and nothing is made up');
  await shot(page, 'network-light');
});

/* ---- live tail ---- */
const udp = option('syslog-udp');
const word = option('live') ?? `live${Math.random().toString(36).slice(2, 10)}`;
async function sendRecord(text) {
  if (udp === undefined) return;
  const [, host, port] = /^(.*):(\d+)$/.exec(udp);
  const socket = createSocket('udp4');
  await new Promise((resolve, reject) => socket.send(`<14>1 ${new Date().toISOString()} browser-test live - - - ${text}`, Number(port), host, (e) => (e ? reject(e) : resolve())));
  socket.close();
}
if (udp !== undefined || option('live') !== undefined) {
  await section('live tail', async () => {
    await page.goto(at('#/live'));
    await page.waitForSelector('.live-state.on');
    check(true, 'the tail connects');
    await sendRecord(word);
    const row = page.locator('.results .row', { hasText: word }).last();
    await row.waitFor();
    check(true, 'a new record appears');
    await page.waitForFunction((w) => [...document.querySelectorAll('.results .row')].some((r) => r.textContent.includes(w) && r.dataset.state === 'proven'), word, { timeout: 30_000 });
    check(true, 'and is proven once a checkpoint covers it');
    await page.waitForSelector('.rule');
    check(true, 'a rule marks where the last checkpoint ends');
    await shot(page, 'live-light');
    await page.keyboard.press(' ');
    await page.waitForSelector('.pause-banner');
    const held = (await states(page)).at(-1)[0];
    await sendRecord(`${word}second`);
    await page.waitForFunction(() => /\b[1-9]\d* new/.test(document.querySelector('.pause-banner').textContent.replace(/\s/g, ' ')));
    check((await states(page)).at(-1)[0] === held, 'pausing freezes the rows and counts the new ones');
    await shot(page, 'live-paused');
    await page.keyboard.press(' ');
    await page.waitForFunction((seq) => Number([...document.querySelectorAll('.results .row')].at(-1).dataset.seq) > seq, held);
    check((await page.$('.pause-banner')) === null, 'space resumes where it stopped');
    await page.emulateMedia({ colorScheme: 'dark' });
    await shot(page, 'live-dark');
  });
}
await context.close();

/* ---- what must never have happened; then the proof that it would have been seen ---- */
check(problems.length === 0, 'no policy violation, console error, dialog, window or foreign request', problems.slice(0, 5).join(' | '));
await section('planted script', async () => {
  const { context: c, page: p } = await open('certificate');
  await p.goto(at('#/search'));
  await p.waitForSelector('.who');
  problems.length = 0;
  const outcome = await p.evaluate(() => {
    try {
      document.querySelector('main').innerHTML = '<img src=x onerror="window.__stele_ran=100">';
      return 'written';
    } catch (error) {
      return error.name;
    }
  });
  check(outcome === 'TypeError', 'text cannot be written as HTML, even by our own code', outcome);
  await p.evaluate(() => {
    const button = document.createElement('button');
    button.setAttribute('onclick', 'window.__stele_ran=101');
    document.body.append(button);
    button.click();
  }).catch(() => undefined);
  await p.waitForTimeout(200);
  check((await p.evaluate(() => window.__stele_ran)) === undefined, 'a planted handler does not run');
  check(problems.some((text) => text.startsWith('policy violation')), 'and the policy violation is seen', problems.join(' | '));
  await c.close();
});
await browser.close();
finish(`; screenshots in ${scratch}`);
