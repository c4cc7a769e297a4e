// Goal: filters write queries that mean what was clicked. Method: examples, and every toggle undone by the same toggle.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filterSign, needles, quoteValue, splitTerms, toggleFilter } from '../src/query/builder.js';
import { formatBytes, formatCount, formatDuration, formatNs, formatNsExact, freezePreset, parseTime } from '../src/time.js';

test('terms are cut at blanks outside of quotes and parentheses', () => {
  assert.deepEqual(splitTerms('  host:fw1  "denied tcp" (a OR b) msg:"x \\" y" '), ['host:fw1', '"denied tcp"', '(a OR b)', 'msg:"x \\" y"']);
  assert.deepEqual(splitTerms(''), []);
});

test('values that are more than a word are written as a phrase', () => {
  assert.equal(quoteValue('fw1'), 'fw1');
  assert.equal(quoteValue('postfix/smtpd'), '"postfix/smtpd"');
  assert.equal(quoteValue('a "b" \\c'), '"a \\"b\\" \\\\c"');
  assert.equal(quoteValue('OR'), '"OR"');
  assert.equal(quoteValue('1..5'), '"1..5"');
  assert.equal(quoteValue('web*'), '"web*"');
  for (const value of ['', 'a\nb', '\u001b[0m', 'x'.repeat(513), '\ud800']) assert.equal(quoteValue(value), undefined);
});

test('a click adds a filter and the next one takes it away', () => {
  assert.equal(toggleFilter('', 'host', 'fw1', '+'), 'host:fw1');
  assert.equal(toggleFilter('denied', 'host', 'fw1', '-'), 'denied -host:fw1');
  assert.equal(toggleFilter('host:fw1 denied', 'host', 'dc01', '+'), 'host:(fw1 OR dc01) denied');
  assert.equal(toggleFilter('host:(fw1 OR dc01) denied', 'host', 'fw1', '+'), 'host:dc01 denied');
  assert.equal(toggleFilter('host:fw1', 'host', 'fw1', '-'), '-host:fw1', 'from wanted to excluded');
  for (const query of ['', 'denied tcp', 'host:dc01', '-host:dc01 x', '"a b" (c d)', 'severity<=warning']) {
    for (const value of ['fw1', 'a b', 'x"y', '<script>', 'ünï']) {
      for (const sign of ['+', '-'] as const) {
        const there = toggleFilter(query, 'host', value, sign);
        assert.equal(filterSign(there, 'host', value), sign);
        assert.equal(toggleFilter(there, 'host', value, sign), query);
      }
    }
  }
});

test('a filter holds for all of a query with OR', () => {
  assert.equal(toggleFilter('a OR b', 'host', 'fw1', '+'), '(a OR b) host:fw1');
});

test('a value that cannot be written leaves the query alone', () => {
  assert.equal(toggleFilter('x', 'host', 'a\u0000b', '+'), 'x');
});

test('what is marked in the list is what was searched as text', () => {
  assert.deepEqual(needles('denied "tcp \\"x\\"" host:fw1 -drop NOT gone msg:hello (inner OR other) 10.0.0.0/8 we* severity<=warning'),
    ['denied', 'tcp "x"', 'hello', 'inner', 'other']);
});

test('times are UTC, to the digit', () => {
  assert.equal(formatNs('1795230000036000000'), '2026-11-21 03:00:00.036Z');
  assert.equal(formatNs('-1'), '1969-12-31 23:59:59.999Z');
  assert.equal(formatNsExact('1795230000036123456'), '2026-11-21 03:00:00.036123456Z');
  const now = Date.parse('2026-11-21T12:00:00Z');
  assert.equal(parseTime('2026-11-21 03:00', now), '2026-11-21T03:00:00.000Z');
  assert.equal(parseTime('2026-11-21T03:00:01.5Z', now), '2026-11-21T03:00:01.500Z');
  assert.equal(parseTime('03:05', now), '2026-11-21T03:05:00.000Z');
  assert.equal(parseTime('2026-11-21', now), '2026-11-21T00:00:00.000Z');
  for (const text of ['', 'now', '2026-13-01', '2026-02-30', '25:00', '2026-11-21 03:00+01:00']) assert.equal(parseTime(text, now), undefined, text);
  const range = freezePreset('1h', now);
  assert.equal(range.to, '2026-11-21T12:00:01.000Z');
  assert.deepEqual(freezePreset('all', now), { from: null, to: null });
});

test('numbers are grouped and units are said', () => {
  assert.equal(formatCount(14588), '14\u202f588');
  assert.equal(formatCount(999), '999');
  assert.deepEqual([formatDuration(400), formatDuration(42_000), formatDuration(93_000), formatDuration(15_120_000)], ['0.4 s', '42 s', '1 m 33 s', '4 h 12 m']);
  assert.deepEqual([formatBytes(252), formatBytes(1536), formatBytes(19 * 1048576)], ['252 B', '1.5 KiB', '19 MiB']);
});
