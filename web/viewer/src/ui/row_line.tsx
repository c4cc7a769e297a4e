// One record, one line.
import type { RowVerdict } from '../verify/record.js';
import type { RowModel } from '../rows.js';
import { addressOf } from '../verify/entry.js';
import { formatNs } from '../time.js';
import { Hostile, ShownText } from './text.js';
import { Mark, Severity } from './icons.js';

const CELL_CODE_POINTS = 80;

export function VerdictMark({ verdict }: { verdict: RowVerdict | null }) {
  switch (verdict?.state) {
    case 'proven': return <><Mark kind="good" /><span class="sr-only">proven</span></>;
    case 'part': return <><Mark kind="part" /><span>PART</span></>;
    case 'open': return <><Mark kind="open" /><span>OPEN</span></>;
    case 'false': return <><Mark kind="bad" /><span>FALSE</span></>;
    default: return <span class="sr-only">being checked</span>;
  }
}

export function verdictTitle(verdict: RowVerdict | null): string {
  if (verdict === null) return 'being checked';
  const lines = verdict.checks.map((check) => `${check.ok === true ? '\u2714' : check.ok === false ? '\u2716' : '\u25cb'} ${check.name}: ${check.detail}`);
  return [verdict.why, ...lines].join('\n');
}

export interface RowLineProps {
  model: RowModel;
  index: number;
  selected: boolean;
  pinned?: boolean;
  centre?: boolean;
  needles: string[];
  onOpen: (index: number) => void;
}

export const rowId = (model: RowModel): string => `row-${model.row.seq}`;

export function RowLine({ model, index, selected, pinned, centre, needles, onOpen }: RowLineProps) {
  const { row } = model;
  const verdict = model.verdict.value;
  const own = row.kind !== 'syslog' && row.kind !== 'json';
  const classes = ['row', verdict?.state ?? 'checking', selected ? 'selected' : '', centre === true ? 'centre' : ''];
  return (
    <div role="row" id={rowId(model)} aria-rowindex={index + 1} aria-selected={selected} class={classes.join(' ').trim()}
      data-seq={row.seq} data-state={verdict?.state ?? 'checking'} onClick={() => onOpen(index)}>
      <span role="gridcell" class="cell proof" title={verdictTitle(verdict)}>
        <VerdictMark verdict={verdict} />
        {pinned === true ? <span class="pin" title="pinned">{'\u2691'}</span> : null}
      </span>
      <span role="gridcell" class="cell time">{formatNs(row.time_ns)}</span>
      <span role="gridcell" class="cell"><Severity value={row.severity} /></span>
      <span role="gridcell" class="cell host">
        {row.host === undefined ? <Hostile text={addressOf(row.peer ?? '')} class="faint" limit={CELL_CODE_POINTS} />
          : <Hostile text={row.host} limit={CELL_CODE_POINTS} />}
      </span>
      <span role="gridcell" class="cell app">
        {own ? <span class="kind">{row.kind}</span> : <Hostile text={row.app ?? ''} limit={CELL_CODE_POINTS} />}
      </span>
      <span role="gridcell" class="cell message">
        {row.flags.map((flag) => <span key={flag} class="flag">{flag.replace('_', ' ')}</span>)}
        <ShownText shown={model.message} needles={needles} />
      </span>
    </div>
  );
}

export function RowHeader() {
  return (
    <div class="row-header" role="presentation">
      <span class="cell">Proof</span><span class="cell">Received (UTC)</span><span class="cell">Severity</span>
      <span class="cell">Host</span><span class="cell">App</span><span class="cell">Message</span>
    </div>
  );
}
