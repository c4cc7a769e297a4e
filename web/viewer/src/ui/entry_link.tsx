// An entry named beside what was read from it: whether it is proven, and the way to its page with the proof.
import { useEffect } from 'preact/hooks';
import type { RowModel } from '../rows.js';
import { formatCount } from '../time.js';
import { routeText } from '../state.js';
import { VerdictMark, verdictTitle } from './row_line.js';

export const entryPage = (seq: number): string => routeText('search', { q: `seq:${seq}`, last: 'all', event: String(seq) });

export function EntryLink({ model }: { model: RowModel }) {
  useEffect(() => { void model.verify(); }, [model]);
  const verdict = model.verdict.value;
  const state = verdict?.state ?? 'checking';
  return (
    <span class={`entry-link ${state}`} data-seq={model.row.seq} data-state={state} title={verdictTitle(verdict)}>
      <VerdictMark verdict={verdict} />
      <a href={entryPage(model.row.seq)} aria-label={`entry ${model.row.seq} and its proof`}>#{formatCount(model.row.seq)}</a>
    </span>
  );
}
