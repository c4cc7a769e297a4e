// An evidence bundle as a download: of a range of records, or of what the search on the screen finds. The nonce is the
// auditor's; the file is checked elsewhere, with stele audit or a release's verify.html.
import { useEffect, useRef, useState } from 'preact/hooks';
import { type BundleSelection, api } from '../api.js';
import { toHex } from '../verify/bytes.js';
import { copyText, session } from '../state.js';
import { formatBytes } from '../time.js';
import { Hostile } from './text.js';

const NONCE = /^[0-9a-f]{64}$/;
const SEQUENCE = /^\d{1,15}$/;
const KEEP_URL_MS = 60_000;

export const mayTakeBundles = (): boolean => session.value?.permissions.includes('bundle') === true;

/** What the browser saves has a name of ours: digits and words alone. */
function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(url), KEEP_URL_MS);
}

type State = { step: 'idle' } | { step: 'making' } | { step: 'failed'; why: string } | { step: 'done'; name: string; nonce: string; bytes: number };

interface FormProps { selection: BundleSelection | null; name: string; label: string }

/** Nonce, payloads or not, and the button; selection null: what the caller offers is not complete. */
function EvidenceForm({ selection, name, label }: FormProps) {
  const [nonce, setNonce] = useState('');
  const [payloads, setPayloads] = useState(true);
  const [state, setState] = useState<State>({ step: 'idle' });
  const abort = useRef<AbortController | null>(null);
  useEffect(() => () => abort.current?.abort(), []);

  const asked = nonce.trim().toLowerCase();
  const take = async (): Promise<void> => {
    if (selection === null) return;
    const running = new AbortController();
    abort.current = running;
    setState({ step: 'making' });
    try {
      const blob = await api.bundle({ ...selection, nonce: asked, payloads: payloads ? 1 : 0 }, running.signal);
      save(blob, name);
      setState({ step: 'done', name, nonce: asked, bytes: blob.size });
    } catch (error) {
      if (!running.signal.aborted) setState({ step: 'failed', why: error instanceof Error ? error.message : String(error) });
    }
  };
  const making = state.step === 'making';
  return (
    <form class="evidence-form" onSubmit={(event) => { event.preventDefault(); void take(); }}>
      <label>Nonce of the auditor
        <span class="evidence-nonce">
          <input type="text" name="nonce" class="mono" value={nonce} spellcheck={false} autocomplete="off" maxLength={64} disabled={making}
            placeholder="64 hexadecimal digits" aria-invalid={asked !== '' && !NONCE.test(asked)}
            onInput={(event) => setNonce(event.currentTarget.value)} />
          <button type="button" class="small" disabled={making}
            onClick={() => setNonce(toHex(crypto.getRandomValues(new Uint8Array(32))))}>Make one</button>
        </span>
      </label>
      <label class="check"><input type="checkbox" name="payloads" checked={payloads} disabled={making} onChange={() => setPayloads(!payloads)} /> disclose the
        payloads</label>
      <p class="section-foot">
        <button type="submit" class="small" disabled={making || selection === null || !NONCE.test(asked)}>{label}</button>
        {making ? <button type="button" class="small" onClick={() => { abort.current?.abort(); setState({ step: 'idle' }); }}>Stop</button> : null}
      </p>
      {making ? <p class="muted" role="status">The TPM signs, the records are proven{'\u2026'}</p> : null}
      {state.step === 'failed' ? <p class="error" role="alert"><Hostile text={state.why} limit={400} /></p> : null}
      {state.step === 'done' ? (
        <p class="evidence-done" role="status">Saved <strong>{state.name}</strong>, {formatBytes(state.bytes)}. Checked elsewhere with
          {' '}<span class="mono">stele audit {state.name} --nonce {state.nonce}</span>{' '}
          <button type="button" class="small" onClick={() => void copyText(state.nonce, 'nonce')}>Copy the nonce</button>
          {' '}or in a browser with <a href="/verify.html" download>verify.html</a>, best taken from a release: this copy comes from the appliance it checks.</p>
      ) : null}
    </form>
  );
}

/** Around one record: it alone, or a range, which is the only selection that proves that nothing of it is missing. */
export function RecordEvidence({ seq }: { seq: number }) {
  const [first, setFirst] = useState(String(seq));
  const [last, setLast] = useState(String(seq));
  useEffect(() => {
    setFirst(String(seq));
    setLast(String(seq));
  }, [seq]);
  const good = SEQUENCE.test(first) && SEQUENCE.test(last) && Number(first) <= Number(last);
  return (
    <div class="evidence">
      <p class="evidence-range">
        <label>from <input type="text" name="first" value={first} inputMode="numeric" aria-invalid={!good} onInput={(e) => setFirst(e.currentTarget.value)} /></label>
        <label>to <input type="text" name="last" value={last} inputMode="numeric" aria-invalid={!good} onInput={(e) => setLast(e.currentTarget.value)} /></label>
      </p>
      <EvidenceForm selection={good ? { range: `${first}..${last}` } : null} name={`evidence-${good ? `${first}-${last}` : ''}.tar`}
        label="Download the range" />
    </div>
  );
}

/** Of a search as it ran. */
export function QueryEvidence({ query, from, to }: { query: string; from: string | null; to: string | null }) {
  return (
    <section class="evidence query-evidence" aria-label="Evidence of this search">
      <p class="muted">Proves that each record is authentic and in its place; not that the search found every one. A range of records (open one
        of them) proves that too.</p>
      <EvidenceForm selection={{ q: query, from, to }} name="evidence-search.tar" label="Download what the search finds" />
    </section>
  );
}
