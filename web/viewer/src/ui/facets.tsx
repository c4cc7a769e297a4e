// Filters beside the list. A click writes into the query; the counts are of the rows that are loaded, and say so.
import type { RowModel } from '../rows.js';
import { SEVERITY_WORDS } from '../rows.js';
import { filterSign, quoteValue, toggleFilter } from '../query/builder.js';
import { formatCount } from '../time.js';
import { Severity } from './icons.js';
import { Hostile, hostileTitle } from './text.js';

const VALUES_MAX = 12;

function count(rows: RowModel[], value: (model: RowModel) => string | undefined): [string, number][] {
  const counts = new Map<string, number>();
  for (const model of rows) {
    const v = value(model);
    if (v !== undefined && v !== '') counts.set(v, (counts.get(v) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

interface FacetProps {
  name: string; field: string; values: [string, number][]; query: string; total: number;
  onQuery: (query: string) => void; severity?: boolean;
}

function Facet({ name, field, values, query, total, onQuery, severity }: FacetProps) {
  if (values.length === 0) return null;
  return (
    <section class="facet" aria-label={`filter by ${name}`}>
      <h3>{name}</h3>
      <ul>
        {values.slice(0, VALUES_MAX).map(([value, n]) => {
          const sign = filterSign(query, field, value);
          const usable = quoteValue(value) !== undefined;
          const toggle = (wanted: '+' | '-'): void => onQuery(toggleFilter(query, field, value, wanted));
          const label = severity === true
            ? <Severity value={SEVERITY_WORDS.indexOf(value as (typeof SEVERITY_WORDS)[number])} />
            : <Hostile text={value} limit={60} />;
          return (
            <li key={value} class={sign === '+' ? 'in' : sign === '-' ? 'out' : ''}>
              <button type="button" class="facet-value" disabled={!usable} aria-pressed={sign === '+'}
                title={usable ? `only ${field}:${hostileTitle(value)}` : 'this value holds control characters: it cannot be written as a query'}
                onClick={() => toggle('+')}>
                <span class="bar" style={{ width: `${Math.max(2, (100 * n) / Math.max(1, total))}%` }} aria-hidden="true" />
                <span class="facet-text">{label}</span>
                <span class="facet-count">{formatCount(n)}</span>
              </button>
              <button type="button" class="mini without" disabled={!usable} aria-pressed={sign === '-'}
                aria-label={`without ${hostileTitle(value)}`} title="without" onClick={() => toggle('-')}>{'\u2212'}</button>
            </li>
          );
        })}
      </ul>
      {values.length > VALUES_MAX ? <p class="muted small-text">and {values.length - VALUES_MAX} more</p> : null}
    </section>
  );
}

export interface FacetsProps {
  rows: RowModel[]; query: string; pins: RowModel[]; onQuery: (query: string) => void; onPin: (model: RowModel) => void;
}

export function Facets({ rows, query, pins, onQuery, onPin }: FacetsProps) {
  const severities = count(rows, (m) => (m.row.severity === undefined ? undefined : SEVERITY_WORDS[m.row.severity]))
    .sort((a, b) => SEVERITY_WORDS.indexOf(a[0] as never) - SEVERITY_WORDS.indexOf(b[0] as never));
  const common = { query, onQuery, total: rows.length };
  return (
    <nav class="facets" aria-label="Filters">
      <Facet name="severity" field="severity" values={severities} severity {...common} />
      <Facet name="host" field="host" values={count(rows, (m) => m.row.host)} {...common} />
      <Facet name="app" field="app" values={count(rows, (m) => m.row.app)} {...common} />
      <Facet name="kind" field="kind" values={count(rows, (m) => m.row.kind)} {...common} />
      {pins.length === 0 ? null : (
        <section class="facet" aria-label="pinned rows">
          <h3>pinned</h3>
          <ul>
            {pins.map((model) => (
              <li key={model.row.seq}>
                <button type="button" class="facet-value" onClick={() => onPin(model)}>
                  <span class="facet-text">#{formatCount(model.row.seq)} <Hostile text={model.row.host ?? model.row.kind} limit={24} /></span>
                </button>
              </li>
            ))}
          </ul>
        </section>
      )}
      <p class="muted small-text">Counts are of the rows loaded: {formatCount(rows.length)}.</p>
    </nav>
  );
}
