// The time range: presets that freeze when the search runs, or two times, always UTC.
import { useEffect, useRef, useState } from 'preact/hooks';
import { preset, range, submit, zoom } from '../search.js';
import { PRESETS, parseTime } from '../time.js';

const short = (iso: string | null, open: string): string => (iso === null ? open : iso.slice(0, 19).replace('T', ' '));

export function rangeLabel(): string {
  if (preset.value !== '') return PRESETS.find((p) => p.id === preset.value)?.label ?? preset.value.slice(0, 12);
  const { from, to } = range.value;
  const sameDay = from !== null && to !== null && from.slice(0, 10) === to.slice(0, 10);
  return `${short(from, 'start')} \u2192 ${sameDay ? to.slice(11, 19) : short(to, 'now')} UTC`;
}

export function TimePicker() {
  const [open, setOpen] = useState(false);
  const [from, setFrom] = useState('');
  const [to, setTo] = useState('');
  const [problem, setProblem] = useState('');
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (!open) return undefined;
    setFrom(short(range.value.from, ''));
    setTo(short(range.value.to, ''));
    setProblem('');
    const close = (event: MouseEvent | KeyboardEvent): void => {
      if (event instanceof KeyboardEvent ? event.key === 'Escape' : !(event.target instanceof Node && box.current?.contains(event.target))) {
        setOpen(false);
      }
    };
    window.addEventListener('mousedown', close);
    window.addEventListener('keydown', close);
    return () => {
      window.removeEventListener('mousedown', close);
      window.removeEventListener('keydown', close);
    };
  }, [open]);

  const apply = (event: Event): void => {
    event.preventDefault();
    const start = from.trim() === '' ? null : parseTime(from, Date.now());
    const end = to.trim() === '' ? null : parseTime(to, Date.now());
    if (start === undefined || end === undefined) return setProblem('write 2026-11-21 03:00, or 03:00 for today (UTC)');
    if (start !== null && end !== null && start >= end) return setProblem('the start must lie before the end');
    setOpen(false);
    zoom(start, end);
  };

  return (
    <div class="time-picker" ref={box}>
      <button type="button" class="control" aria-haspopup="dialog" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class="sr-only">Time range: </span>{rangeLabel()} <span aria-hidden="true" class="caret">{'\u25be'}</span>
      </button>
      {!open ? null : (
        <div class="popover" role="dialog" aria-label="Time range">
          <ul>
            {PRESETS.map((p) => (
              <li key={p.id}>
                <button type="button" aria-pressed={preset.value === p.id} onClick={() => {
                  preset.value = p.id;
                  setOpen(false);
                  submit();
                }}>{p.label}</button>
              </li>
            ))}
          </ul>
          <form onSubmit={apply}>
            <label>From (UTC)<input type="text" value={from} placeholder="2026-11-21 03:00" spellcheck={false}
              onInput={(e) => setFrom(e.currentTarget.value)} /></label>
            <label>To (UTC)<input type="text" value={to} placeholder="2026-11-21 04:00" spellcheck={false}
              onInput={(e) => setTo(e.currentTarget.value)} /></label>
            {problem === '' ? null : <p class="error" role="alert">{problem}</p>}
            <button type="submit" class="control primary">Apply</button>
          </form>
        </div>
      )}
    </div>
  );
}
