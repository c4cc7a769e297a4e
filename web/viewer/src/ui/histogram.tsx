// Something over time in three columns: errors at the bottom of the stack, then warnings, the rest grey. Drag to zoom.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { HistogramAnswer } from '../api.js';
import { formatCount, isoOfMs } from '../time.js';
import { painted } from '../state.js';

const HEIGHT = 104;

/** A custom property may be a function; what it comes to is asked of the browser. */
function colours(element: HTMLElement): Record<'err' | 'warn' | 'base' | 'text' | 'grid', string> {
  const probe = element.ownerDocument.createElement('span');
  element.append(probe);
  const read = (name: string): string => {
    probe.className = `probe-${name}`;
    return getComputedStyle(probe).color;
  };
  const out = { err: read('err'), warn: read('warn'), base: read('base'), text: read('text'), grid: read('grid') };
  probe.remove();
  return out;
}

type Series = [number[], number[], number[], number[]];

/** uPlot draws from back to front: the tallest series holds the sum, so each is the sum of itself and what lies under it. */
function stack(answer: HistogramProps['answer']): Series {
  const start = Number(BigInt(answer.from_ns) / 1000n) / 1e6;
  const width = Number(BigInt(answer.bucket_ns) / 1000n) / 1e6;
  const data: Series = [[], [], [], []];
  answer.buckets.forEach(([err, warn, other], i) => {
    data[0].push(start + width * i);
    data[1].push(err + warn + other);
    data[2].push(err + warn);
    data[3].push(err);
  });
  return data;
}

function options(
  width: number, span: { from: number; to: number; bucket: number }, paint: ReturnType<typeof colours>, onZoom: (fromMs: number, toMs: number) => void): uPlot.Options {
  const bars = uPlot.paths.bars?.({ size: [0.86, 40], align: 1 });
  const series = (label: string, colour: string): uPlot.Series => ({
    label, fill: colour, width: 0, points: { show: false }, ...(bars === undefined ? {} : { paths: bars }) });
  const axis = { stroke: paint.text, font: '11px system-ui, sans-serif', ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'UTC'),
    legend: { show: false },
    padding: [6, 18, 0, 0],
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
    scales: { x: { time: true, range: () => [span.from, span.to] }, y: { range: (_u, _min, max) => [0, Math.max(1, max)] } },
    axes: [
      { ...axis, size: 22, grid: { show: false }, space: 90,
        values: timeFormats() },
      { ...axis, size: 46, space: 28, grid: { stroke: paint.grid, width: 1 },
        values: (_u, splits) => splits.map((v) => (Number.isInteger(v) ? formatCount(v) : '')) },
    ],
    series: [{}, series('other', paint.base), series('warn', paint.warn), series('err', paint.err)],
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 3) return;
        const from = u.posToVal(u.select.left, 'x') * 1000;
        const to = u.posToVal(u.select.left + u.select.width, 'x') * 1000;
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        onZoom(Math.floor(from), Math.ceil(Math.max(to, from + 1000 * span.bucket)));
      }],
    },
  };
}

// 24-hour clock; the date where the day turns.
function timeFormats(): uPlot.Axis.Values {
  const day = 86_400;
  return [
    [28 * day, '{YYYY}-{MM}', null, null, null, null, null, null, 1],
    [day, '{MM}-{DD}', '\n{YYYY}', null, null, null, null, null, 1],
    [60, '{HH}:{mm}', '{YYYY}-{MM}-{DD}', null, '{MM}-{DD}', null, null, null, 0],
    [1, '{HH}:{mm}:{ss}', null, null, null, null, null, null, 0],
    [0.001, '{ss}.{fff}', null, null, null, null, null, null, 0],
  ] as uPlot.Axis.Values;
}

/** Names of the columns: in the tip, which is short, and in the sentence for who cannot see the bars. */
export interface HistogramNames { of: string; short: [string, string, string]; long: [string, string, string] }
const SEVERITIES: HistogramNames = { of: 'Events', short: ['err', 'warn', 'other'], long: ['errors', 'warnings', 'others'] };

export interface HistogramProps {
  answer: Pick<HistogramAnswer, 'bucket_ns' | 'from_ns' | 'to_ns' | 'buckets'>;
  names?: HistogramNames;
  onZoom: (from: string, to: string) => void;
}

export function Histogram({ answer, names = SEVERITIES, onZoom }: HistogramProps) {
  const box = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const paint = painted.value;

  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const bucket = Number(BigInt(answer.bucket_ns) / 1000n) / 1e6;
    const from = Number(BigInt(answer.from_ns) / 1000n) / 1e6;
    const span = { from, to: from + bucket * answer.buckets.length, bucket };      // each bar reaches to the start of the next
    const config = options(element.clientWidth, span, colours(element), (start, end) => onZoom(isoOfMs(start), isoOfMs(end)));
    const plot = new uPlot({
      ...config,
      hooks: { ...config.hooks, setCursor: [(u) => showTip(u, answer, names, tip.current)] },
    }, stack(answer), element);
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [answer, names, onZoom, paint]);

  const sum = answer.buckets.reduce((s, b) => [s[0] + b[0], s[1] + b[1], s[2] + b[2]], [0, 0, 0] as [number, number, number]);
  return (
    <div class="histogram" role="img"
      aria-label={`${names.of} over time: ${sum.map((n, i) => `${n} ${names.long[i] ?? ''}`).join(', ')}. Drag to zoom.`}>
      <div ref={box} class="plot" />
      <div ref={tip} class="tip" hidden />
    </div>
  );
}

function showTip(u: uPlot, answer: HistogramProps['answer'], names: HistogramNames, tip: HTMLDivElement | null): void {
  const left = u.cursor.left ?? -1;
  if (tip === null) return;
  const x = u.data[0];
  const width = Number(BigInt(answer.bucket_ns) / 1000n) / 1e6;
  const at = left < 0 ? -1 : Math.floor((u.posToVal(left, 'x') - (x[0] ?? 0)) / width);
  const bucket = answer.buckets[at];
  tip.hidden = bucket === undefined;
  if (bucket === undefined) return;
  const start = isoOfMs((x[at] ?? 0) * 1000).slice(5, 23).replace('T', ' ');
  tip.textContent = [`${start}Z`, ...bucket.map((n, i) => `${names.short[i] ?? ''} ${formatCount(n)}`)].join('   ');
}
