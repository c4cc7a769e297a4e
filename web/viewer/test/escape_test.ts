// Goal: nothing a sender writes reaches the screen invisible, reordering or as a control. Method: all code points, all bytes,
// and the sequences log viewers were caught with.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boxLabel, decodeUtf8, escapeText, highlight, mixedScripts, plainText } from '../src/text/escape.js';

const FORBIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/u;
const visible = (shown: ReturnType<typeof escapeText>): string => shown.segments.filter((s) => s.kind !== 'x').map((s) => s.text).join('');
const tokens = (shown: ReturnType<typeof escapeText>): string[] => shown.segments.filter((s) => s.kind === 'x').map((s) => s.text);

test('every code point is shown as itself or as a token, never dropped', () => {
  for (let code = 0; code <= 0x10ffff; code++) {
    const text = String.fromCodePoint(code);
    const shown = escapeText(`a${text}b`);
    const label = boxLabel(code);
    if (label === undefined) assert.equal(visible(shown), `a${text}b`, code.toString(16));
    else assert.deepEqual(tokens(shown), [label], code.toString(16));
    assert.ok(!FORBIDDEN.test(visible(shown)), code.toString(16));
  }
});

test('printable ASCII and ordinary letters stay as they are', () => {
  const ascii = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join('');
  for (const text of [ascii, 'Grüße, naïve café', 'Привет мир', '日本語のログ', 'مرحبا', 'עברית', '한국어', 'ไทย', '😀', '→ ✓ €']) {
    assert.deepEqual(escapeText(text).segments, [{ kind: 't', text }]);
  }
});

test('bidi overrides and invisible characters become boxes with their names', () => {
  assert.equal(plainText(escapeText('user \u202etxt.exe')), 'user \u27e6U+202E\u27e7txt.exe');
  assert.equal(plainText(escapeText('a\u200bb\ufeffc\u{e0041}d\u2028e\u00a0f')), 'a\u27e6U+200B\u27e7b\u27e6U+FEFF\u27e7c\u27e6U+E0041\u27e7d\u27e6U+2028\u27e7e\u27e6U+00A0\u27e7f');
  assert.equal(plainText(escapeText('x\ud800y')), 'x\u27e6U+D800\u27e7y');
});

test('a bracket typed by a sender cannot pass for a token', () => {
  assert.equal(plainText(escapeText('\u27e6U+202E\u27e7')), '\u27e6U+27E6\u27e7U+202E\u27e6U+27E7\u27e7');
});

test('colour sequences are taken out and counted; everything else of a terminal is shown', () => {
  assert.equal(plainText(escapeText('\u001b[31mred\u001b[0m \u009b1;4mbold')), 'red bold\u27e6SGR\u00d73\u27e7');
  assert.equal(plainText(escapeText('\u001b[31mred', { ansi: 'show' })), '\u27e6ESC\u27e7[31mred');
  assert.equal(plainText(escapeText('\u001b]52;c;ZXZpbA==\u0007')), '\u27e6ESC\u27e7]52;c;ZXZpbA==\u27e6BEL\u27e7');
  assert.equal(plainText(escapeText('\u001b[2Jgone')), '\u27e6ESC\u27e7[2Jgone');
  for (const text of ['\u001b', '\u001b[', '\u001b[31', '\u001b[31\u0007m', `\u001b[${'1;'.repeat(60)}m`]) {
    assert.ok(plainText(escapeText(text)).startsWith('\u27e6ESC\u27e7'), JSON.stringify(text));
  }
});

test('combining marks neither pile up nor sit on what is not theirs', () => {
  const zalgo = escapeText(`z${'\u0301'.repeat(40)}`);
  assert.equal(tokens(zalgo).length, 36);
  assert.deepEqual(tokens(escapeText('\u0301a')), ['U+0301'], 'at the start of a field');
  assert.deepEqual(tokens(escapeText('\u202e\u0301')), ['U+202E', 'U+0301'], 'after a token');
  assert.deepEqual(escapeText('e\u0301').segments, [{ kind: 't', text: 'e\u0301' }]);
});

test('bytes that are not UTF-8 stand for themselves', () => {
  const cases: [number[], string][] = [
    [[0xff], '\u27e6xff\u27e7'], [[0xc0, 0xaf], '\u27e6xc0\u27e7\u27e6xaf\u27e7'], [[0xed, 0xa0, 0x80], '\u27e6xed\u27e7\u27e6xa0\u27e7\u27e6x80\u27e7'],
    [[0x41, 0xe2, 0x82], 'A\u27e6xe2\u27e7\u27e6x82\u27e7'], [[0xe2, 0x82, 0xac], '\u20ac'], [[0xf4, 0x90, 0x80, 0x80], '\u27e6xf4\u27e7\u27e6x90\u27e7\u27e6x80\u27e7\u27e6x80\u27e7'],
    [[0xf0, 0x80, 0x80, 0x80], '\u27e6xf0\u27e7\u27e6x80\u27e7\u27e6x80\u27e7\u27e6x80\u27e7']];
  for (const [raw, expected] of cases) assert.equal(plainText(escapeText(new Uint8Array(raw))), expected);
});

test('the decoder agrees with the platform on all good text and loses no byte of bad', () => {
  let seed = 7;
  const random = (n: number): number => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n; };
  for (let round = 0; round < 3000; round++) {
    const raw = Uint8Array.from({ length: random(24) }, () => (random(3) === 0 ? random(128) : 128 + random(128)));
    const { codes } = decodeUtf8(raw, 1000);
    const back = codes.flatMap((code) => (code < 0 ? [-code - 1] : [...new TextEncoder().encode(String.fromCodePoint(code))]));
    assert.deepEqual(back, [...raw]);
    let good = true;
    try { new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw); } catch { good = false; }
    assert.equal(codes.every((code) => code >= 0), good);
  }
});

test('long text is cut by code points and says so', () => {
  const shown = escapeText('x'.repeat(5000), { limit: 100 });
  assert.ok(shown.cut);
  assert.equal(visible(shown).length, 100);
  assert.ok(!escapeText('x'.repeat(100), { limit: 100 }).cut);
});

test('words that mix look-alike scripts are marked, pure ones are not', () => {
  assert.match(mixedScripts('p\u0430ypal') ?? '', /U\+0430 \(Cyrillic\)/);
  assert.match(mixedScripts('\u0391pple') ?? '', /Greek/);
  for (const word of ['paypal', 'Привет', 'Ωμέγα', 'caf\u00e9', '日本']) assert.equal(mixedScripts(word), undefined);
  assert.deepEqual(escapeText('go p\u0430ypal.com').segments.map((s) => s.kind), ['t', 'h', 't']);
});

test('hits are marked in text only, and not in very long texts', () => {
  const { segments } = escapeText('Denied TCP \u202edenied');
  assert.deepEqual(highlight(segments, ['denied']).map((s) => [s.kind, s.text]), [['m', 'Denied'], ['t', ' TCP '], ['x', 'U+202E'], ['m', 'denied']]);
  const long = escapeText(`denied ${'x'.repeat(3000)}`).segments;
  assert.equal(highlight(long, ['denied']), long);
  assert.equal(highlight(segments, []), segments);
});
