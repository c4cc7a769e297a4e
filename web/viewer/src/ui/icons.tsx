// Shapes that carry meaning without colour. Drawn, not typed: every font draws them alike.
import { SEVERITIES } from '../rows.js';

const SHAPES: Record<number, { path: string; filled: boolean }> = {
  0: { path: 'M3.2 1h5.6L11.6 6 8.8 11H3.2L.4 6z', filled: true },
  1: { path: 'M6 .8 11.6 10.8H.4z', filled: true },
  2: { path: 'M6 .3 11.7 6 6 11.7.3 6z', filled: true },
  3: { path: 'M1.5 1.5h9v9h-9z', filled: true },
  4: { path: 'M6 1.8 11 10.4H1z', filled: false },
  5: { path: 'M6 1.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4z', filled: true },
  6: { path: 'M6 2a4 4 0 1 0 0 8 4 4 0 0 0 0-8z', filled: false },
  7: { path: 'M1.2 4.6h9.6v2.8H1.2z', filled: true },
};

export function Severity({ value }: { value: number | undefined }) {
  const name = value === undefined ? undefined : SEVERITIES[value];
  if (name === undefined || value === undefined) return <span class="severity none">{'\u2013'}</span>;
  const shape = SHAPES[value] ?? { path: '', filled: true };
  return (
    <span class={`severity s${value}`}>
      <svg viewBox="0 0 12 12" width="11" height="11" aria-hidden="true">
        <path d={shape.path} class={shape.filled ? 'filled' : 'outline'} />
      </svg>
      {name}
    </span>
  );
}

const MARKS = {
  good: 'M2 6.6 4.9 9.5 10.2 3',
  bad: 'M2.5 2.5l7 7m0-7-7 7',
  part: 'M6 1.4a4.6 4.6 0 1 0 0 9.2z',
  open: 'M6 1.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4z',
};

export function Mark({ kind }: { kind: keyof typeof MARKS }) {
  return (
    <svg class={`mark ${kind}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
      {kind === 'part' ? <circle cx="6" cy="6" r="4.6" class="outline" /> : null}
      <path d={MARKS[kind]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 20 20" width="18" height="18" aria-hidden="true">
      <path d="M5 18.5V6a5 5 0 0 1 10 0v12.5z" class="stone" />
      <path d="M7.6 7.5h4.8M7.6 10.5h4.8M7.6 13.5h4.8" class="lines" />
    </svg>
  );
}
