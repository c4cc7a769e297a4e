// Facets and filters write into the query text; the text stays the only truth. Grammar: docs/query.md.

export type Sign = '+' | '-';

/** The query cut into its top-level terms, as written. Quotes, regular expressions and parentheses are kept whole. */
export function splitTerms(query: string): string[] {
  const terms: string[] = [];
  let term = '';
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < query.length; i++) {
    const c = query[i] ?? '';
    if (quoted) {
      term += c;
      if (c === '\\') term += query[++i] ?? '';
      else if (c === '"') quoted = false;
      continue;
    }
    if (c === '"') quoted = true;
    else if (c === '(') depth++;
    else if (c === ')') depth = Math.max(0, depth - 1);
    if (/\s/.test(c) && depth === 0) {
      if (term !== '') terms.push(term);
      term = '';
    } else {
      term += c;
    }
  }
  if (term !== '') terms.push(term);
  return terms;
}

/** A value as the grammar reads it back: bare where it is a plain word, else a phrase. Undefined: it cannot be written. */
export function quoteValue(value: string): string | undefined {
  if (value === '' || value.length > 512 || /[\p{Cc}\p{Cs}]/u.test(value)) return undefined;
  if (/^[A-Za-z0-9_][A-Za-z0-9_.@-]*$/.test(value) && !/^(OR|AND|NOT)$/.test(value) && !value.includes('..')) return value;
  return `"${value.replace(/[\\"]/g, '\\$&')}"`;
}

interface FieldTerm { sign: Sign; field: string; values: string[] }

/** `field:value`, `-field:value` or `field:(a b)`; undefined for every other term. */
function parseFieldTerm(term: string): FieldTerm | undefined {
  const match = /^(-?)([a-z][a-z0-9_.]*):(.+)$/s.exec(term);
  if (match === null) return undefined;
  const [, minus = '', field = '', rest = ''] = match;
  const list = rest.startsWith('(') && rest.endsWith(')') ? splitTerms(rest.slice(1, -1)).filter((v) => v !== 'OR') : [rest];
  return { sign: minus === '-' ? '-' : '+', field, values: list };
}

function writeFieldTerm(term: FieldTerm): string {
  const minus = term.sign === '-' ? '-' : '';
  return term.values.length === 1
    ? `${minus}${term.field}:${term.values[0] ?? ''}` : `${minus}${term.field}:(${term.values.join(' OR ')})`;
}

const sameValue = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/** Is this filter written in the query? A query with a top-level OR is not taken apart. */
export function filterSign(query: string, field: string, value: string): Sign | undefined {
  const quoted = quoteValue(value);
  if (quoted === undefined) return undefined;
  for (const term of splitTerms(query)) {
    const parsed = parseFieldTerm(term);
    if (parsed?.field === field && parsed.values.some((v) => sameValue(v, quoted))) return parsed.sign;
  }
  return undefined;
}

/**
 * Toggles `field:value` (or `-field:value`). Values of one field that are wanted join into one `field:(a OR b)`; excluded ones
 * stay apart. Where the query has a top-level OR it is put into parentheses first, so that the filter holds for all of it.
 */
export function toggleFilter(query: string, field: string, value: string, sign: Sign): string {
  const quoted = quoteValue(value);
  if (quoted === undefined) return query;
  let terms = splitTerms(query);
  if (terms.includes('OR')) terms = [`(${query.trim()})`];
  const present = filterSign(query, field, value);
  const without = terms.flatMap((term) => {
    const parsed = parseFieldTerm(term);
    if (parsed?.field !== field) return [term];
    const values = parsed.values.filter((v) => !sameValue(v, quoted));
    if (values.length === parsed.values.length) return [term];
    return values.length === 0 ? [] : [writeFieldTerm({ ...parsed, values })];
  });
  if (present === sign) return without.join(' ');
  if (sign === '+') {
    const at = without.findIndex((term) => {
      const parsed = parseFieldTerm(term);
      return parsed?.field === field && parsed.sign === '+';
    });
    const parsed = at < 0 ? undefined : parseFieldTerm(without[at] ?? '');
    if (parsed !== undefined) {
      without[at] = writeFieldTerm({ ...parsed, values: [...parsed.values, quoted] });
      return without.join(' ');
    }
  }
  return [...without, writeFieldTerm({ sign, field, values: [quoted] })].join(' ');
}

/** The words and phrases a hit must hold in its text: what the list marks. Fields other than msg, and negations, are left out. */
export function needles(query: string): string[] {
  const out: string[] = [];
  const walk = (terms: string[]): void => {
    let negated = false;
    for (const term of terms) {
      if (term === 'OR' || term === 'AND') continue;
      if (term === 'NOT') {
        negated = true;
        continue;
      }
      if (!negated && !/^[-!]/.test(term)) take(term);
      negated = false;
    }
  };
  const take = (term: string): void => {
    if (term.startsWith('(') && term.endsWith(')')) return walk(splitTerms(term.slice(1, -1)));
    const text = term.startsWith('msg:') ? term.slice(4) : term;
    if (text.startsWith('"') && text.endsWith('"') && text.length > 2) {
      out.push(text.slice(1, -1).replace(/\\(.)/g, '$1'));
    } else if (!/^[a-z][a-z0-9_.]*(?:[:=<>]|!=)/.test(text) && !/[*?/"()]/.test(text)) {
      out.push(text);
    }
  };
  walk(splitTerms(query));
  return out.slice(0, 16);
}
