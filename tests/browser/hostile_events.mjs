// Prints hostile log messages, one a line: syslog (RFC 5424, RFC 3164) or, with --json, JSON events. Scripts, HTML, terminal
// escapes, text that reorders or hides itself, long lines, in every field a sender can choose. Each message holds the word
// given by --marker, so that a search finds exactly these. Used by tests/browser/run.mjs's caller and by the fixture.
//
//   node hostile_events.mjs [--marker WORD] [--json]
import { fileURLToPath } from 'node:url';

const SCRIPTS = [
  '<script>window.__stele_ran=1</script>', '<img src=x onerror="window.__stele_ran=2">', '"><svg onload=window.__stele_ran=3>',
  '<iframe srcdoc="<script>parent.__stele_ran=4</script>"></iframe>', 'javascript:window.__stele_ran=5',
  '[click](javascript:window.__stele_ran=6)', '<a href="javascript:window.__stele_ran=7">x</a>',
  '</title><script>window.__stele_ran=8</script>', '{{constructor.constructor("window.__stele_ran=9")()}}', '${window.__stele_ran=10}',
  '<math><mtext></p><style><img src=x onerror=window.__stele_ran=11></style>', "'-window.__stele_ran=12-'", '&#60;script&#62;',
  '<object data="data:text/html,<script>alert(1)</script>">', '<style>*{display:none}</style>', '<base href="//evil.example/">',
  '<meta http-equiv=refresh content="0;url=//evil.example">', '<form action="//evil.example"><input name=q>', '<!--', ']]>',
  '<x-foo onfocus=window.__stele_ran=13 tabindex=1 autofocus>', '__proto__', 'constructor'];
const TERMINAL = [
  '\u001b[31mred\u001b[0m plain', '\u001b[8mconcealed\u001b[0m', '\u001b[2J\u001b[H', '\u001b]0;new title\u0007', '\u001b]52;c;ZXZpbA==\u0007',
  '\u001bP1$r\u001b\\', '\u009b31mC1', '\u001b[38;5;15;48;5;15mwhite on white\u001b[0m', 'unterminated \u001b[', 'back\b\b\b\bspace', 'bell\u0007'];
const INVISIBLE = [
  'user \u202etxt.exe', '\u2066isolate\u2069', 'zero\u200bwidth\u200djoin', 'bom\ufeff', 'tag\u{e0041}\u{e0042}', 'vs\u{e0100}', 'line\u2028para\u2029',
  'soft\u00adhyphen', 'p\u0430ypal.com', '\u0391pple \u0441ode', 'z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307algo', 'nbsp\u00a0and\u3000wide', '\u27e6U+202E\u27e7 typed by hand',
  '\u05e2\u05d1\u05e8\u05d9\u05ea mixed \u0627\u0644\u0639\u0631\u0628\u064a\u0629', 'cr\rover'];

const bare = (text) => text.replace(/[\u0000- "=\]\u007f-\u{10ffff}]/gu, '_').slice(0, 40) || '_';      // what RFC 5424 header fields may hold
const quoted = (text) => text.replace(/[\\"\]]/g, '\\$&');
const stamp = '2026-11-21T03:00:00.000Z';

/** Bytes of each message: some are not text at all. */
export function hostileSyslog(marker) {
  const out = [];
  const texts = [...SCRIPTS, ...TERMINAL, ...INVISIBLE];
  texts.forEach((text, i) => {
    const severity = 8 * 16 + (i % 8);
    out.push(Buffer.from(`<${severity}>1 ${stamp} ${bare(text)} ${bare(text)} ${i} ${bare(text)} - ${marker} ${text}`));
    out.push(Buffer.from(`<${severity}>1 ${stamp} host-${i % 4} app ${i} - [x@32473 v="${quoted(text)}"] ${marker} in structured data`));
    out.push(Buffer.from(`<${severity}>Nov 21 03:00:00 ${bare(text)} ${bare(text)}[${i}]: ${marker} ${text}`));
  });
  out.push(Buffer.concat([Buffer.from(`<13>1 ${stamp} bytes app - - - ${marker} `), Buffer.from([0xff, 0xfe, 0xc0, 0xaf, 0xed, 0xa0, 0x80, 0xf5])]));
  out.push(Buffer.from(`<13>1 ${stamp} long app - - - ${marker} ${'A<b>'.repeat(1200)} end`));
  // Framed by line ends outside, so none inside.
  return out.filter((message) => !message.includes(0x0a));
}

export function hostileJson(marker) {
  return [...SCRIPTS, ...TERMINAL, ...INVISIBLE].map((text, i) => JSON.stringify({
    host: text, app: text, severity: i % 8, message: `${marker} ${text}`, [text]: { [text]: [text, i, null, true] } }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf('--marker');
  const marker = at > 0 ? process.argv[at + 1] : 'hostilemarker';
  const lines = process.argv.includes('--json') ? hostileJson(marker) : hostileSyslog(marker);
  for (const line of lines) process.stdout.write(Buffer.concat([Buffer.from(line), Buffer.from('\n')]));
}
