// Hostile text -> segments that are safe to show. Log text, host names, facet values, errors: everything a sender can choose
// passes here. Each character that has no visible shape of its own, or that moves its neighbours about, becomes a boxed token
// with its name; nothing is dropped but SGR colour sequences, and those are counted.

/** `t` text to show as it is; `x` a boxed token; `h` a word that mixes look-alike scripts; `m` a search hit. */
export interface Segment { kind: 't' | 'x' | 'h' | 'm'; text: string; title?: string }

export interface Shown { segments: Segment[]; sgr: number; cut: boolean }

export interface EscapeOptions {
  ansi?: 'strip' | 'show';      // strip: SGR sequences are taken out and counted
  breaks?: boolean;             // a line feed also breaks the line (after its token)
  limit?: number;               // code points looked at; the rest is reported as cut
}

const C0 = [
  'NUL', 'SOH', 'STX', 'ETX', 'EOT', 'ENQ', 'ACK', 'BEL', 'BS', 'TAB', 'LF', 'VT', 'FF', 'CR', 'SO', 'SI', 'DLE', 'DC1', 'DC2',
  'DC3', 'DC4', 'NAK', 'SYN', 'ETB', 'CAN', 'EM', 'SUB', 'ESC', 'FS', 'GS', 'RS', 'US'];

const ESC = 0x1b;
const CSI_8BIT = 0x9b;
const LF = 0x0a;
const MARKS_IN_A_ROW_MAX = 4;

// Controls, formats (bidi, zero width, tags, BOM), line and paragraph separators, surrogates, private use, unassigned and
// non-characters, whatever Unicode says to leave invisible, and every space that is not the ordinary one.
const BOXED = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const OTHER_SPACE = /\p{Zs}/u;
const MARK = /\p{M}/u;
const WORD = /[\p{L}\p{M}\p{N}_]/u;

/** Blank or bracket characters by hand: braille blank draws nothing; the brackets are how a copied token is written. */
const ALSO_BOXED = new Set([0x2800, 0x27e6, 0x27e7]);

export const unicodeName = (code: number): string => `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;

/** The token for a code point, or undefined when it may be shown as it is. */
export function boxLabel(code: number): string | undefined {
  if (code >= 0x20 && code < 0x7f) return undefined;
  if (code < 0x20) return C0[code];
  if (code === 0x7f) return 'DEL';
  if (code >= 0xd800 && code <= 0xdfff) return unicodeName(code);
  const text = String.fromCodePoint(code);
  if (BOXED.test(text) || ALSO_BOXED.has(code) || OTHER_SPACE.test(text)) return unicodeName(code);
  return undefined;
}

// An invalid byte is carried as its value below zero: -(byte + 1).
const invalidByte = (byte: number): number => -(byte + 1);

/** UTF-8, strict (no overlong forms, no surrogates): every byte that is not part of a good sequence stands for itself. */
export function decodeUtf8(bytes: Uint8Array, limit: number): { codes: number[]; cut: boolean } {
  const codes: number[] = [];
  let at = 0;
  while (at < bytes.length && codes.length < limit) {
    const first = bytes[at] ?? 0;
    const length = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3
      : first >= 0xf0 && first < 0xf5 ? 4 : 0;
    let code = length === 1 ? first : length === 0 ? -1 : first & (0x7f >> length);
    for (let i = 1; i < length && code >= 0; i++) {
      const next = bytes[at + i] ?? 0;
      code = (next & 0xc0) === 0x80 ? code * 64 + (next & 0x3f) : -1;
    }
    const least = [0, 0, 0x80, 0x800, 0x10000][length] ?? 0;
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      codes.push(invalidByte(first));
      at += 1;
    } else {
      codes.push(code);
      at += length;
    }
  }
  return { codes, cut: at < bytes.length };
}

function codesOf(text: string, limit: number): { codes: number[]; cut: boolean } {
  const codes: number[] = [];
  let units = 0;
  for (const character of text) {
    if (codes.length >= limit) break;
    codes.push(character.codePointAt(0) ?? 0);
    units += character.length;
  }
  return { codes, cut: units < text.length };
}

/** Length of an SGR sequence at `at` (ESC [ ... m, or the 8-bit CSI), 0 when there is none. */
function sgrLength(codes: number[], at: number): number {
  let i = at;
  if (codes[i] === ESC && codes[i + 1] === 0x5b) i += 2;
  else if (codes[i] === CSI_8BIT) i += 1;
  else return 0;
  for (let parameters = 0; parameters < 64; parameters++, i++) {
    const code = codes[i] ?? -1;
    if (code === 0x6d) return i - at + 1;
    if (!(code >= 0x30 && code <= 0x3b)) return 0;      // digits, ":" and ";"
  }
  return 0;
}

const SCRIPTS: [string, RegExp][] = [
  ['Cyrillic', /\p{Script=Cyrillic}/u], ['Greek', /\p{Script=Greek}/u], ['Armenian', /\p{Script=Armenian}/u],
  ['Cherokee', /\p{Script=Cherokee}/u]];
const LATIN = /\p{Script=Latin}/u;

/** For a word that mixes Latin with a script that has Latin look-alikes: which letters, and what they are. */
export function mixedScripts(word: string): string | undefined {
  if (/^[\x00-\x7f]*$/.test(word) || !LATIN.test(word)) return undefined;
  const strange: string[] = [];
  for (const letter of word) {
    const script = SCRIPTS.find(([, pattern]) => pattern.test(letter));
    if (script !== undefined) strange.push(`${letter} is ${unicodeName(letter.codePointAt(0) ?? 0)} (${script[0]})`);
  }
  return strange.length === 0 ? undefined : `mixed scripts: ${strange.slice(0, 8).join(', ')}`;
}

class Builder {
  readonly segments: Segment[] = [];
  private plain = '';

  text(character: string): void {
    this.plain += character;
  }

  token(label: string, title: string): void {
    this.flush();
    this.segments.push({ kind: 'x', text: label, title });
  }

  /** Splits the pending text into words only where a word could mix scripts: ASCII passes whole. */
  flush(): void {
    const text = this.plain;
    this.plain = '';
    if (text === '') return;
    if (/^[\x00-\x7f]*$/.test(text)) {
      this.segments.push({ kind: 't', text });
      return;
    }
    let pending = '';
    for (const part of text.split(/([\p{L}\p{M}\p{N}_]+)/u)) {
      const title = WORD.test(part) ? mixedScripts(part) : undefined;
      if (title === undefined) {
        pending += part;
        continue;
      }
      if (pending !== '') this.segments.push({ kind: 't', text: pending });
      pending = '';
      this.segments.push({ kind: 'h', text: part, title });
    }
    if (pending !== '') this.segments.push({ kind: 't', text: pending });
  }
}

function emit(code: number, marks: number, breaks: boolean, out: Builder): void {
  if (code < 0) {
    const byte = (-code - 1).toString(16).padStart(2, '0');
    out.token(`x${byte}`, `byte 0x${byte}, not valid UTF-8`);
    return;
  }
  const label = boxLabel(code);
  if (label !== undefined) {
    out.token(label, unicodeName(code));
    if (code === LF && breaks) out.text('\n');
  } else if (marks > MARKS_IN_A_ROW_MAX || marks < 0) {
    out.token(unicodeName(code), `${unicodeName(code)}, a combining mark`);
  } else {
    out.text(String.fromCodePoint(code));
  }
}

/** What may be shown of text (from JSON) or bytes (from a payload). */
export function escapeText(input: string | Uint8Array, options: EscapeOptions = {}): Shown {
  const limit = options.limit ?? 100_000;
  const { codes, cut } = typeof input === 'string' ? codesOf(input, limit) : decodeUtf8(input, limit);
  const out = new Builder();
  let sgr = 0;
  let marks = -1;                                        // below zero: nothing visible yet for a mark to sit on
  for (let at = 0; at < codes.length;) {
    const skip = options.ansi === 'show' ? 0 : sgrLength(codes, at);
    if (skip > 0) {
      sgr++;
      at += skip;
      continue;
    }
    const code = codes[at] ?? 0;
    const isMark = code >= 0x300 && MARK.test(String.fromCodePoint(code));
    const boxed = code < 0 || boxLabel(code) !== undefined;
    emit(code, isMark ? (marks < 0 ? -1 : marks + 1) : 0, options.breaks ?? false, out);
    marks = boxed ? -1 : isMark && marks >= 0 ? marks + 1 : isMark ? -1 : 0;
    at++;
  }
  out.flush();
  if (sgr > 0) out.segments.push({ kind: 'x', text: `SGR\u00d7${sgr}`, title: `${sgr} terminal colour sequences taken out` });
  return { segments: out.segments, sgr, cut };
}

/** The visible form as plain text, for the clipboard and for titles: tokens in double brackets. */
export function plainText(shown: Shown): string {
  const text = shown.segments.map((s) => (s.kind === 'x' ? `\u27e6${s.text}\u27e7` : s.text)).join('');
  return shown.cut ? `${text}\u2026` : text;
}

const HIGHLIGHT_LENGTH_MAX = 2000;

/** Marks hits inside the text segments. Nothing is marked in texts beyond 2,000 characters. */
export function highlight(segments: Segment[], needles: string[]): Segment[] {
  const length = segments.reduce((sum, s) => sum + s.text.length, 0);
  if (needles.length === 0 || length > HIGHLIGHT_LENGTH_MAX) return segments;
  const wanted = needles.map((needle) => needle.toLowerCase()).filter((needle) => needle !== '');
  return segments.flatMap((segment) => (segment.kind === 't' ? split(segment.text, wanted) : [segment]));
}

function split(text: string, needles: string[]): Segment[] {
  const lower = text.toLowerCase();
  if (lower.length !== text.length) return [{ kind: 't', text }];      // a letter changed its length: places would be off
  const out: Segment[] = [];
  let from = 0;
  while (from < text.length) {
    let best = { at: -1, length: 0 };
    for (const needle of needles) {
      const at = lower.indexOf(needle, from);
      if (at >= 0 && (best.at < 0 || at < best.at || (at === best.at && needle.length > best.length))) {
        best = { at, length: needle.length };
      }
    }
    if (best.at < 0) break;
    if (best.at > from) out.push({ kind: 't', text: text.slice(from, best.at) });
    out.push({ kind: 'm', text: text.slice(best.at, best.at + best.length) });
    from = best.at + best.length;
  }
  if (from < text.length) out.push({ kind: 't', text: text.slice(from) });
  return out;
}
