// A browser at the Network screen, for the scripts that look at it: signs in, shows it, and notes what must not happen.
import { chromium } from 'playwright-core';

export const option = (name, fallback) => { const at = process.argv.indexOf(`--${name}`); return at > 0 ? process.argv[at + 1] : fallback; };
export const numberIn = (text) => Number(/[\d\u202f]+/.exec(text)?.[0].replaceAll('\u202f', '') ?? NaN);

/** Violations of the page's policy, console errors and dialogs, of all pages that were opened: there must be none. */
export const problems = [];

/** `server`: its url, user and password. That its certificate is good is the matter of run.mjs. */
export async function open(server) {
  const browser = await chromium.launch({ executablePath: option('chromium', '/usr/bin/chromium'), args: ['--no-sandbox', '--font-render-hinting=none'] });
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1440, height: 900 }, colorScheme: 'light', reducedMotion: 'reduce', timezoneId: 'Pacific/Chatham' });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  await page.exposeFunction('__steleReport', (text) => problems.push(text));
  await page.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) =>
    window.__steleReport(`policy violation: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`)));
  page.on('dialog', (dialog) => { problems.push(`a dialog opened: ${dialog.message()}`); void dialog.dismiss(); });
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
  page.on('console', (message) => { if (message.type() === 'error' && !/status of 40[01]/.test(message.text())) problems.push(`console: ${message.text()}`); });
  await page.goto(server.url);
  await page.fill('input[name=user]', server.user);
  await page.fill('input[name=password]', server.password);
  await page.click('button[type=submit]');
  await page.waitForSelector('.who');
  return { browser, page };
}

export async function show(page, server, hash) {
  await page.goto('about:blank');
  await page.goto(new URL(`/#/network${hash}`, server.url).href);
  await page.waitForSelector('.map');
  await page.waitForSelector('main[aria-busy=false]');
  await page.waitForFunction(() => [...document.querySelectorAll('.entry-link')].every((one) => one.dataset.state !== 'checking'));
}
