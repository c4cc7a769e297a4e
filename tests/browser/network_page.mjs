// The Network screen in a real browser, over a log that holds what only a guard writes: changes of a policy, drift, dropped
// packets. Entries, trees and signatures are real and are verified by the viewer as always; the log and its API are the FIXTURE's
// (fixture_server.mjs). Once with the three plants of
// docs/segmentation.md and a way out, once with 20 zones. Every check is printed; the exit status is 1 when one fails.
//
//   node network_page.mjs --scratch DIR [--chromium PATH]
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { check, finish } from './checks.mjs';
import { numberIn, open, option, problems, show } from './network_screen.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const scratch = option('scratch') ?? (console.error('--scratch is missing'), process.exit(2));
mkdirSync(scratch, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function serve(zones) {
  const folder = mkdtempSync(join(tmpdir(), 'stele-fixture-'));
  const child = spawn(process.execPath, [join(here, 'fixture_server.mjs'), folder, '--records', '400', '--rate', '1', '--zones', String(zones)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', (status) => reject(new Error(`the fixture ended with ${status}`)));
  });
  const stop = () => { child.kill(); rmSync(folder, { recursive: true, force: true }); };
  process.once('exit', stop);
  return { ...JSON.parse(line), stop };
}

/** Both themes, the whole page: the window is made as high as the page. */
async function pictures(page, name) {
  const height = await page.$eval('main', (main) => main.scrollHeight + 60);
  await page.setViewportSize({ width: 1440, height: Math.min(9000, height) });
  for (const theme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: theme });
    await page.waitForTimeout(150);
    await page.screenshot({ path: join(scratch, `${name}-${theme}.png`) });
    await page.locator('.card:has(.map)').screenshot({ path: join(scratch, `${name}-picture-${theme}.png`) });
  }
}

/** What axe finds of WCAG 2 A and AA, in both themes. Its script is run by the debugger, which the page's policy does not hold. */
async function accessible(page, what) {
  for (const theme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: theme });
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], resultTypes: ['violations'] }));
    check(found.violations.length === 0, `${what}, ${theme}: axe finds nothing against WCAG 2.1 A and AA`,
      found.violations.slice(0, 4).map((v) => `${v.id} ${v.nodes.length}x ${v.nodes[0]?.target} ${v.nodes[0]?.failureSummary}`).join(' | '));
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

async function run(zones, work) {
  const server = await serve(zones);
  let browser;
  try {
    const opened = await open(server);
    browser = opened.browser;
    await work(opened.page, server);
  } catch (error) {
    check(false, `${zones} zones`, String(error.message).split('\n').slice(0, 3).join(' '));
    await browser?.contexts()[0]?.pages()[0]?.screenshot({ path: join(scratch, `failed-network-${zones}.png`) }).catch(() => undefined);
  } finally {
    await browser?.close();
    server.stop();
  }
}

await run(4, async (page, server) => {
  await show(page, server, '?last=all');
  check((await page.textContent('.summary')).includes('Enforced'), 'an applied policy is called enforced');
  check(await page.locator('.map .zone').count() === 3 && await page.locator('.map .process').count() === 4 && await page.locator('.map .flow').count() === 2, 'the picture has the zones, their processes and the flows');
  const states = await page.$$eval('.entry-link', (links) => links.map((link) => link.dataset.state));
  check(states.length > 30 && states.every((state) => state === 'proven'), 'every entry on the page is proven', `${states.length} ${[...new Set(states)]}`);
  const bars = numberIn(await page.getAttribute('[aria-labelledby=violations-title] .histogram', 'aria-label'));
  check(bars === 211, 'the chart counts packets, not entries', `${bars}`);
  check((await page.$$('.event.change')).length === 3 && (await page.$$('.event.change .outcomes .failed')).length === 1, 'a change stands with what became of it');
  check((await page.textContent('.history')).includes('process 40711') && (await page.$('.event.restored')) !== null, 'drift names who did it, and its repair follows');
  check((await page.$$('.diff .opens')).length >= 3 && (await page.$$('.diff .closes')).length === 1, 'a diff says what opens and what closes');
  await pictures(page, 'network-plant');
  await page.setViewportSize({ width: 1440, height: 900 });
  await accessible(page, 'a plant');

  // Hostile text in every member that people and programs write.
  const names = await page.evaluate(() => [...new Set([...document.querySelectorAll('main *')].map((e) => e.localName))].sort().join(' '));
  check(!names.includes('img') && (await page.evaluate(() => window.__stele_ran)) === undefined, 'no element and no script came from an entry', names);
  check((await page.textContent('main')).includes('<img src=x') && !(await page.textContent('main')).includes('\u202e'), 'it is shown as text, its invisible marks in boxes');

  // The keyboard: a zone of the picture narrows violations and matrix to it.
  const before = await page.locator('.violations tbody tr').count();
  await page.focus('.map .zone[data-zone=machines]');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.map .zone[data-zone=machines][aria-pressed=true]');
  check((await page.$$eval('.violations tbody tr', (rows) => rows.map((row) => row.children[2].textContent))).every((zone) => zone === 'machines'), 'a chosen zone narrows the violations', `${before}`);
  check((await page.$$eval('.matrix tbody tr', (rows) => rows.map((row) => row.dataset.zone))).every((zone) => zone === 'machines'), 'and the matrix');
  check(page.url().includes('zone=machines'), 'and stands in the address');
  await page.keyboard.press('Enter');
  await page.fill('.matrix-filter .port', '9443');
  check((await page.locator('.matrix tbody tr').count()) === 1, 'the matrix is filtered by port');
  await page.fill('.matrix-filter .port', '9');
  check((await page.textContent('[aria-labelledby=matrix-title]')).includes('it is dropped'), 'what no field names is said to be dropped');
  await page.click('[aria-labelledby=violations-title] button:has-text("Last hour")');
  await page.waitForSelector('[aria-labelledby=violations-title] .empty');
  check((await page.textContent('[aria-labelledby=violations-title] .empty')).includes('No violation'), 'no violation is said to be none');

  // A row leads to its entry and its proof.
  await show(page, server, '?last=all');
  while (await page.locator('.violations tr[data-kind=crossing]').count() === 0) await page.click('[aria-labelledby=violations-title] .more button');
  await page.locator('.violations tr[data-kind=crossing] .entry-link a').click();
  await page.waitForSelector('.drawer .verdict.good');
  check((await page.textContent('.drawer')).includes('policy_crossing'), 'a violation leads to its entry with the proof');

  // One digit changed on the way: that entry is false, and counted nowhere.
  let victim = null;
  await page.route('**/api/v1/search?*', async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    const row = body.rows.find((one) => Buffer.from(one.payload_b64, 'base64').includes('policy_crossing'));
    if (row !== undefined) {
      victim = row.seq;
      row.payload_b64 = Buffer.from(Buffer.from(row.payload_b64, 'base64').toString().replace('"packets":211', '"packets":999')).toString('base64');
    }
    await route.fulfill({ response, body: JSON.stringify(body) });
  });
  await show(page, server, '?last=all');
  await page.waitForSelector('.false-entries');
  const falses = await page.$$eval('.entry-link[data-state=false]', (links) => links.map((link) => Number(link.dataset.seq)));
  check(victim !== null && falses.length === 1 && falses[0] === victim, 'an altered entry is false, and no other', `${victim} ${falses}`);
  check(numberIn(await page.getAttribute('[aria-labelledby=violations-title] .histogram', 'aria-label')) === 0, 'and not counted');
  await page.unroute('**/api/v1/search?*');

  // What may not be read, what is not enforced, what is not there.
  const answered = async (change, seen) => {
    await page.route('**/api/v1/network', async (route) => {
      const response = await route.fetch();
      const body = await response.json();
      await route.fulfill({ response, body: JSON.stringify(change(body) ?? body) });
    });
    await show(page, server, '?last=all').catch(() => undefined);
    await seen();
    await page.unroute('**/api/v1/network');
  };
  await answered((body) => { body.state = 'not_enforced'; body.guard_runs = false; }, async () =>
    check((await page.textContent('.summary')).includes('Not enforced') && (await page.$('.map .loose')) !== null, 'a policy that nobody applies is called so, and drawn dashed'));
  await answered((body) => { body.limited = true; body.last.change = null; body.zones = body.zones.slice(0, 1); body.reach = []; }, async () =>
    check((await page.textContent('main')).includes('Only the zones of your scope'), 'a limited view says that it is one'));
  await page.route('**/api/v1/search?*', (route) => route.fulfill({ status: 400, contentType: 'application/json', body: '{"error":{"code":"forbidden","message":"not for you"}}' }));
  await show(page, server, '');
  check((await page.textContent('main')).includes('could not be read') && (await page.$('.map')) !== null, 'without the entries the policy is still shown');
});

await run(20, async (page, server) => {
  await show(page, server, '?last=all');
  check(await page.locator('.map .zone').count() === 17 && await page.locator('.map .flow').count() === 5, '20 zones: each has its place, and each flow');
  const overlaps = await page.$$eval('.map .node > .box', (boxes) => {
    const rects = boxes.map((box) => box.getBoundingClientRect());
    return rects.filter((a, i) => rects.some((b, j) => i < j && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
  });
  check(overlaps === 0, 'no box lies on another', `${overlaps}`);
  const outside = await page.$$eval('.map .node', (nodes) => nodes.filter((node) => {
    const box = node.querySelector('.box').getBoundingClientRect();
    return [...node.querySelectorAll('text')].some((text) => { const r = text.getBoundingClientRect(); return r.left < box.left || r.right > box.right + 0.5; });
  }).map((node) => node.textContent));
  check(outside.length === 0, 'no text leaves its box', outside.slice(0, 3).join(' | '));
  await pictures(page, 'network-20');
  await page.setViewportSize({ width: 1440, height: 900 });
  await accessible(page, '20 zones');
});

check(problems.length === 0, 'no policy violation, console error or dialog', problems.slice(0, 5).join(' | '));
finish(`; screenshots in ${scratch}`);
