// The Network screen of the real daemons, whose policy is enforced and watched: what stele-guard and stele-guard-watch have written is shown as what
// it is, and proven. Every check is printed; the exit status is 1 when one fails.
//
//   node enforced_page.mjs --url URL --user NAME --password WORD --packets N --scratch DIR [--chromium PATH]
//
// The log has (network.sh): the first policy, a change with the reason "RELP for the plant", drift by nft and its repair, a scan from 10.20.0.20,
// a try to reach the operators, N dropped packets in all.
import { join } from 'node:path';
import { check, finish } from './checks.mjs';
import { open, option, problems, show } from './network_screen.mjs';

const server = { url: option('url'), user: option('user'), password: option('password') };
const scratch = option('scratch');
const { browser, page } = await open(server);
try {
  await show(page, server, '?last=all');
  check((await page.textContent('.summary')).includes('Enforced'), 'the policy is called enforced');
  const zones = await page.$$eval('.map .zone', (all) => all.map((one) => one.dataset.zone).sort().join(' '));
  check(zones === 'operator plant', 'the picture has its zones', zones);
  const states = await page.$$eval('.entry-link', (links) => links.map((link) => link.dataset.state));
  check(states.length >= 6 && states.every((state) => state === 'proven'), 'every entry on the page is proven', `${states.length} ${[...new Set(states)]}`);
  const chart = await page.getAttribute('[aria-labelledby=violations-title] .histogram', 'aria-label');
  const bars = (chart.match(/[\d\u202f]+/g) ?? []).reduce((sum, number) => sum + Number(number.replaceAll('\u202f', '')), 0);
  check(bars === Number(option('packets')), 'the chart counts every dropped packet', chart);
  const kinds = await page.$$eval('.violations tr[data-kind]', (rows) => rows.map((row) => row.dataset.kind));
  check(kinds.includes('scan') && kinds.includes('crossing') && kinds.includes('violation'), 'a scan, a crossing and others are told apart', kinds.join(' '));
  const violations = await page.textContent('.violations');
  check(violations.includes('10.20.0.20') && violations.includes('plant'), 'with their source and zone', violations.slice(0, 200));
  check((await page.$$('.event.change')).length === 2, 'the history has the first policy and the change');
  const history = await page.textContent('.history');
  check(history.includes('RELP for the plant') && history.includes('root'), 'who changed it and why', history.slice(0, 300));
  check((await page.$$('.diff .opens')).length >= 1 && history.includes('tcp/2514'), 'and what opened');
  check(history.includes('nft') && (await page.$('.event.restored')) !== null, 'drift names the program, and its repair follows');
  check(!/NaN|undefined|null|\[object/.test(await page.textContent('main')), 'nothing is made up');
  await page.locator('.violations tr[data-kind=scan] .entry-link a').first().click();
  await page.waitForSelector('.drawer .verdict.good');
  check((await page.textContent('.drawer')).includes('policy_scan'), 'a violation leads to its entry with the proof');
  await page.screenshot({ path: join(scratch, 'network-enforced.png') });
} catch (error) {
  check(false, 'the Network screen', String(error.message).split('\n').slice(0, 3).join(' '));
  await page.screenshot({ path: join(scratch, 'failed-network-enforced.png') }).catch(() => undefined);
} finally {
  await browser.close();
}
check(problems.length === 0, 'no policy violation, console error or dialog', problems.slice(0, 5).join(' | '));
finish(`; screenshots in ${scratch}`);
