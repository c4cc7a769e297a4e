// One event: its text in full, its fields, its proof step by step, its bytes.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type RecordAnswer, api } from '../api.js';
import { type Bytes, concat, fromBase64 } from '../verify/bytes.js';
import type { RowVerdict } from '../verify/record.js';
import { FACILITIES, type RowModel, messageBytes, payloadPreview } from '../rows.js';
import { escapeText, plainText } from '../text/escape.js';
import { formatBytes, formatCount, formatNsExact } from '../time.js';
import { filterSign, quoteValue } from '../query/builder.js';
import { copyText, say, wideDrawer } from '../state.js';
import { CheckList } from './check_list.js';
import { RecordEvidence, mayTakeBundles } from './evidence.js';
import { HexView } from './hex_view.js';
import { Mark, Severity } from './icons.js';
import { Hostile, hostileTitle } from './text.js';

const PAGE_BYTES = 65_536;
const FETCH_UNASKED_BYTES = 1_048_576;      // larger payloads are fetched and verified when asked for
const TEXT_PAGE_BYTES = 8192;
const REST_MS = 110;                         // each look is itself a record of the log: rows passed by are not looked up

interface Loaded { answer: RecordAnswer; payload: Bytes }
interface Loading { loaded: Loaded | null; error: string; progress: string; fetchAll: () => void }

/** Fetches the record, completes its payload by pages, and checks the whole of it. */
function useRecord(model: RowModel, size: number | null): Loading {
  const [loaded, setLoaded] = useState<Loaded | null>(null);
  const [error, setError] = useState('');
  const [progress, setProgress] = useState('');
  const [bound, setBound] = useState(FETCH_UNASKED_BYTES);
  const { seq } = model.row;

  useEffect(() => setBound(FETCH_UNASKED_BYTES), [seq]);
  useEffect(() => {
    const abort = new AbortController();
    setLoaded(null);
    setError('');
    const load = async (): Promise<void> => {
      await new Promise((resolve) => window.setTimeout(resolve, REST_MS));
      abort.signal.throwIfAborted();
      const answer = await api.record(seq, size, abort.signal);
      let payload = fromBase64(answer.payload_b64);
      while (payload.length < answer.payload_size && answer.payload_size <= bound) {
        setProgress(`${formatBytes(payload.length)} of ${formatBytes(answer.payload_size)}`);
        const page = await api.payload(seq, payload.length, PAGE_BYTES, abort.signal);
        if (page.length === 0) break;
        payload = concat(payload, page);
      }
      setProgress('');
      const whole = payload.length === answer.payload_size;
      // The row on the screen is what is judged; only a row that came without a proof (live tail) is judged by this answer.
      if (model.checkpoint === null) {
        model.row = { ...answer.row, payload_b64: model.row.payload_b64 };
        model.checkpoint = answer.checkpoint;
      }
      await model.verify(whole ? payload : undefined);
      if (!abort.signal.aborted) setLoaded({ answer, payload });
    };
    load().catch((reason: unknown) => {
      if (!abort.signal.aborted) setError(reason instanceof Error ? reason.message : String(reason));
    });
    return () => abort.abort();
  }, [seq, size, bound, model]);
  return { loaded, error, progress, fetchAll: () => setBound(Number.MAX_SAFE_INTEGER) };
}

function Section({ title, open = true, children, aside }:
  { title: string; open?: boolean; children: ComponentChildren; aside?: ComponentChildren }) {
  return (
    <details class="section" open={open}>
      <summary><h3>{title}</h3>{aside}</summary>
      {children}
    </details>
  );
}

interface FieldRow { name: string; value: string; field?: string }

function flatten(fields: Record<string, unknown>, path = ''): FieldRow[] {
  return Object.entries(fields).flatMap(([name, value]) => {
    const full = path === '' ? name : `${path}.${name}`;
    if (value === null || value === undefined) return [];
    if (typeof value === 'object') return flatten(value as Record<string, unknown>, full);
    return [{ name: full, value: String(value) }];
  });
}

const OWN_MEMBERS = new Set(['host', 'app', 'pid', 'msgid', 'severity', 'facility', 'message', 'msg', 'claimed_time', 'format']);

function fieldRows(model: RowModel, fields: Record<string, unknown> | undefined): FieldRow[] {
  const { row } = model;
  const rows: FieldRow[] = [];
  const add = (name: string, value: string | number | undefined, field?: string): void => {
    if (value !== undefined && value !== '') rows.push({ name, value: String(value), ...(field === undefined ? {} : { field }) });
  };
  add('host', row.host, 'host');
  add('app', row.app, 'app');
  add('pid', row.pid, 'pid');
  add('msgid', row.msgid, 'msgid');
  add('facility', row.facility === undefined ? undefined : FACILITIES[row.facility] ?? row.facility, 'facility');
  add('claimed time', row.claimed_time);
  add('peer', row.peer);
  add('source', `${row.source.id}${row.source.listener === undefined ? '' : ` \u00b7 ${row.source.listener}`}`);
  add('transport', row.source.transport);
  add('zone', row.source.zone);
  add('kind', row.kind, 'kind');
  add('format', row.format);
  add('size', `${row.size} bytes`);
  const more = fields === undefined ? [] : flatten(fields).filter((f) => !OWN_MEMBERS.has(f.name));
  return [...rows, ...more.slice(0, 200)];
}

interface FieldTableProps { rows: FieldRow[]; query: string; onFilter?: ((field: string, value: string, sign: '+' | '-') => void) | undefined }

function FieldTable({ rows, query, onFilter }: FieldTableProps) {
  return (
    <table class="fields">
      <tbody>
        {rows.map(({ name, value, field }) => {
          const usable = field !== undefined && onFilter !== undefined && quoteValue(value) !== undefined;
          const sign = usable ? filterSign(query, field, value) : undefined;
          return (
            <tr key={name}>
              <th scope="row"><Hostile text={name} limit={120} /></th>
              <td><Hostile text={value} limit={1000} /></td>
              <td class="actions">
                {usable ? <>
                  <button type="button" class="mini" aria-pressed={sign === '+'} aria-label={`only this ${hostileTitle(name)}`}
                    onClick={() => onFilter(field, value, '+')}>+</button>
                  <button type="button" class="mini" aria-pressed={sign === '-'} aria-label={`without this ${hostileTitle(name)}`}
                    onClick={() => onFilter(field, value, '-')}>{'\u2212'}</button>
                </> : null}
                <button type="button" class="mini" aria-label={`copy ${hostileTitle(name)}`}
                  onClick={() => void copyText(plainText(escapeText(value)), 'value')}>{'\u29c9'}</button>
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function VerdictLine({ verdict }: { verdict: RowVerdict | null }) {
  const words = {
    proven: ['good', 'Proven in this browser'], part: ['part', 'Entry proven, payload partly shown'],
    open: ['open', 'Not yet covered by a checkpoint'], false: ['bad', 'FALSE: do not believe this row'] } as const;
  if (verdict === null) return <p class="verdict checking">being checked</p>;
  const [kind, word] = words[verdict.state];
  return (
    <p class={`verdict ${kind}`}>
      <Mark kind={kind} /><strong>{word}</strong>
      {verdict.state === 'proven' ? null : <Hostile text={verdict.why} limit={300} />}
    </p>
  );
}

function Pages({ page, pages, onPage }: { page: number; pages: number; onPage: (page: number) => void }) {
  if (pages < 2) return null;
  return (
    <span class="pages">
      <button type="button" class="mini" disabled={page === 0} aria-label="previous page" onClick={() => onPage(page - 1)}>{'\u2039'}</button>
      page {page + 1} of {pages}
      <button type="button" class="mini" disabled={page + 1 >= pages} aria-label="next page" onClick={() => onPage(page + 1)}>{'\u203a'}</button>
    </span>
  );
}

function MessageSection({ bytes, needles, partial }: { bytes: Uint8Array; needles: string[]; partial: boolean }) {
  const [page, setPage] = useState(0);
  const [escapes, setEscapes] = useState(false);
  useEffect(() => setPage(0), [bytes]);
  const pages = Math.max(1, Math.ceil(bytes.length / TEXT_PAGE_BYTES));
  const part = bytes.slice(page * TEXT_PAGE_BYTES, (page + 1) * TEXT_PAGE_BYTES);
  return (
    <Section title="Message">
      <div class="message-full">
        <Hostile text={part} breaks ansi={escapes ? 'show' : 'strip'} limit={TEXT_PAGE_BYTES} needles={needles} />
      </div>
      <div class="section-foot">
        <Pages page={page} pages={pages} onPage={setPage} />
        {partial ? <span class="muted">more bytes follow</span> : null}
        <label class="check"><input type="checkbox" checked={escapes} onChange={() => setEscapes(!escapes)} /> show colour codes</label>
        <button type="button" class="small" onClick={() => void copyText(plainText(escapeText(bytes)), 'message (escaped)')}>Copy</button>
      </div>
    </Section>
  );
}

function RawSection({ payload, size, fetchAll, progress }:
  { payload: Uint8Array; size: number; fetchAll: () => void; progress: string }) {
  const [page, setPage] = useState(0);
  const pages = Math.max(1, Math.ceil(payload.length / PAGE_BYTES));
  const part = payload.slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  return (
    <Section title="Raw bytes" aside={<span class="aside">{formatBytes(payload.length)}{payload.length < size ? ` of ${formatBytes(size)}` : ''}</span>}>
      <HexView bytes={part} base={page * PAGE_BYTES} wide={wideDrawer.value} />
      <div class="section-foot">
        <Pages page={page} pages={pages} onPage={setPage} />
        {progress === '' ? null : <span class="muted">{progress}</span>}
        {payload.length < size && progress === ''
          ? <button type="button" class="small" onClick={fetchAll}>Fetch all {formatBytes(size)} and verify</button> : null}
      </div>
    </Section>
  );
}

function ProofSection({ model }: { model: RowModel }) {
  const verdict = model.verdict.value;
  const proof = model.row.proof ?? [];
  return (
    <Section title="Proof" aside={<span class="aside">{proof.length} siblings</span>}>
      <VerdictLine verdict={verdict} />
      {verdict === null ? null : <CheckList checks={verdict.checks} />}
      {verdict === null || verdict.leaf === '' ? null : (
        <details class="siblings">
          <summary>leaf and siblings</summary>
          <ol class="hashes" start={0}>
            <li><span class="muted">leaf</span> {verdict.leaf}</li>
            {proof.map((hash, i) => <li key={i}><Hostile text={hash} limit={80} /></li>)}
          </ol>
        </details>
      )}
      <div class="section-foot">
        <button type="button" class="small" onClick={() => void model.again().then(() => say('verified again'))}>Verify again <kbd>v</kbd></button>
      </div>
    </Section>
  );
}

export interface DrawerProps {
  model: RowModel;
  size: number | null;
  query: string;
  needles: string[];
  permalink: string;
  onClose: () => void;
  onContext?: () => void;
  onFilter?: (field: string, value: string, sign: '+' | '-') => void;
}

export function Drawer({ model, size, query, needles, permalink, onClose, onContext, onFilter }: DrawerProps) {
  const { loaded, error, progress, fetchAll } = useRecord(model, size);
  const { row } = model;
  const payload = loaded?.payload ?? payloadPreview(row);
  const message = messageBytes(row, payload);
  const missing = payload.length < row.size;
  return (
    <aside class={wideDrawer.value ? 'drawer wide' : 'drawer'} aria-label={`Event ${row.seq}`} data-loaded={loaded !== null}>
      <header>
        <div>
          <h2>Event #{formatCount(row.seq)}</h2>
          <p class="when"><Severity value={row.severity} /> {formatNsExact(row.time_ns)}</p>
        </div>
        <button type="button" class="icon" aria-label={wideDrawer.value ? 'narrow' : 'widen'} title={wideDrawer.value ? 'narrow' : 'widen'}
          onClick={() => { wideDrawer.value = !wideDrawer.value; }}>{wideDrawer.value ? '\u21e5' : '\u21e4'}</button>
        <button type="button" class="icon" aria-label="close" title="close (Esc)" onClick={onClose}>{'\u2715'}</button>
      </header>
      <div class="drawer-actions">
        {onContext === undefined ? null : <button type="button" class="small" onClick={onContext}>Context <kbd>c</kbd></button>}
        <button type="button" class="small" onClick={() => void copyText(permalink, 'permalink')}>Permalink <kbd>Y</kbd></button>
        <button type="button" class="small" onClick={() => void copyText(JSON.stringify(row), 'raw JSON')}>Copy JSON</button>
      </div>
      <div class="drawer-body">
        {error === '' ? null : <p class="error" role="alert"><Hostile text={error} /></p>}
        <ProofSection model={model} />
        <MessageSection bytes={message} needles={needles} partial={missing} />
        <Section title="Fields" aside={<span class="aside">derived from the proven bytes</span>}>
          <FieldTable rows={fieldRows(model, loaded?.answer.fields)} query={query} onFilter={onFilter} />
        </Section>
        {mayTakeBundles() ? <Section title="Evidence" open={false}><RecordEvidence seq={row.seq} /></Section> : null}
        <RawSection payload={payload} size={row.size} fetchAll={fetchAll} progress={progress} />
      </div>
    </aside>
  );
}
