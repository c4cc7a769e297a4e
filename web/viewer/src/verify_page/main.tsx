// verify.html: one file that verifies an evidence bundle in a browser, from file://, without any network. Everything a bundle
// says reaches the screen through Hostile.
import { render } from 'preact';
import { useState } from 'preact/hooks';
import '../style/tokens.css';
import '../style/base.css';
import './page.css';
import { Logo, Mark } from '../ui/icons.js';
import { Hostile } from '../ui/text.js';
import { type Bytes, fromHex } from '../verify/bytes.js';
import { decodeText } from '../verify/bundle/members.js';
import { noteOfReceipt, parseExpectedPcrs, parseMaxAge, parseNonce, parsePin } from '../verify/bundle/input.js';
import { type BundleRecord, type Facts, type Policy, WITNESS_MAX_AGE_S } from '../verify/bundle/state.js';
import { type Report, statementOf, verifyBundle } from '../verify/bundle/verify.js';
import { parseWitnessPolicy } from '../verify/witness.js';

const RECORDS_SHOWN = 1000;
const PREVIEW_BYTES = 2000;
const SMALL_FILE_BYTES_MAX = 1024 * 1024;

interface Row { sequence: number; time: string; kind: string; text: Uint8Array | undefined }
interface Outcome { file: string; report: Report; rows: Row[] }

const timeOf = (ns: bigint): string => {
  const date = new Date(Number(ns / 1_000_000n));
  return Number.isNaN(date.getTime()) ? `${ns} ns` : date.toISOString();
};

async function bytesOf(blob: Blob): Promise<Bytes> {
  return new Uint8Array(await blob.arrayBuffer());
}

async function smallFile(file: File): Promise<string> {
  if (file.size > SMALL_FILE_BYTES_MAX) throw new Error(`${file.name} is too large for what it should be`);
  return decodeText(await bytesOf(file));
}

interface Inputs {
  nonce: string; pcrs: string; pin: File | undefined; receipt: File | undefined; witnesses: File | undefined; maxAge: string;
}

async function policyOf(inputs: Inputs): Promise<Policy> {
  const policy: Policy = {};
  if (inputs.nonce.trim() !== '') policy.nonce = parseNonce(inputs.nonce);
  if (inputs.pin !== undefined) policy.pinPem = parsePin(await smallFile(inputs.pin));
  if (inputs.pcrs.trim() !== '') policy.expectedPcrs = parseExpectedPcrs(inputs.pcrs);
  if (inputs.receipt !== undefined) policy.sinceNote = noteOfReceipt(await smallFile(inputs.receipt));
  if (inputs.witnesses !== undefined) policy.witnesses = await parseWitnessPolicy(await smallFile(inputs.witnesses));
  policy.witnessMaxAgeS = parseMaxAge(inputs.maxAge);
  return policy;
}

async function verify(file: File, inputs: Inputs, progress: (part: number) => void): Promise<Outcome> {
  const rows: Row[] = [];
  const record = ({ entry, payload }: BundleRecord): void => {
    if (rows.length === RECORDS_SHOWN) return;
    rows.push({ sequence: entry.sequence, time: timeOf(entry.receiveNs), kind: entry.kind, text: payload?.slice(0, PREVIEW_BYTES) });
  };
  const source = { size: file.size, read: (begin: number, end: number) => bytesOf(file.slice(begin, end)) };
  const report = await verifyBundle(
    source, await policyOf(inputs), { record, progress: (read, size) => progress(size === 0 ? 1 : read / size) });
  return { file: file.name, report, rows };
}

function Checks({ report }: { report: Report }) {
  return (
    <ul class="checks">
      {report.checks.map((check) => {
        const kind = check.result === 'passed' ? 'good' : check.result === 'failed' ? 'bad' : 'open';
        return (
          <li key={check.name} class={kind}>
            <Mark kind={kind} />
            <span>{check.name}<span class="sr-only">: {check.result}. </span></span>
            <Hostile text={check.result === 'failed' ? `${check.word ?? ''}: ${check.detail}` : check.detail} class="check-detail" limit={600} />
          </li>
        );
      })}
    </ul>
  );
}

function Records({ rows, report }: { rows: Row[]; report: Report }) {
  if (!report.good) return <p>The records are not shown: this bundle does not prove them.</p>;
  return (
    <>
      {rows.length < report.facts.records
        ? <p>The first {rows.length} of {report.facts.records} proven records; stele audit and tar give the rest.</p> : null}
      <table class="records">
        <thead><tr><th>number</th><th>received (UTC)</th><th>kind</th><th>payload</th></tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.sequence}>
              <td>{row.sequence}</td><td>{row.time}</td><td>{row.kind}</td>
              <td>{row.text === undefined ? <span class="muted">not disclosed</span> : <Hostile text={row.text} limit={PREVIEW_BYTES} />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

const seenText = (timeS: bigint | undefined, fresh: boolean): string => timeS === undefined ? 'did not cosign it'
  : `${timeOf(timeS * 1_000_000_000n)}${fresh ? '' : ', which does not count: too old or in the future'}`;

function Details({ facts }: { facts: Facts }) {
  const { witnessed, bootRegisters, pageSha256 } = facts;
  return (
    <>
      {witnessed.witnesses.map((one) => <p key={one.name}>Witness <Hostile text={one.name} limit={200} />: {seenText(one.timeS, one.fresh)}.</p>)}
      {bootRegisters.map((one) => (
        <p key={one.pcr} class="muted">Boot log, PCR {one.pcr}: {one.events} events give <code>{one.value}</code>
          {one.quoted ? ', as quoted.' : ', NOT as quoted.'}</p>))}
      {pageSha256 === '' ? null : (
        <p class="muted">The bundle brings a verify.html of its own, SHA-256 <code>{pageSha256}</code>: compare it with a release's before you open it.</p>)}
    </>
  );
}

function Answer({ outcome: { file, report, rows } }: { outcome: Outcome }) {
  const { facts } = report;
  const words = report.qualifiers.length === 0 ? report.word : `${report.word} (${report.qualifiers.join(', ')})`;
  return (
    <>
      <section role="status">
        <h2><Hostile text={file} limit={200} /></h2>
        <p class={`verdict ${report.good ? 'good' : 'bad'}`}>{words}</p>
        <p><Hostile text={report.detail} limit={1000} /></p>
        {report.place === '' ? null : <p>First wrong place: <Hostile text={report.place} limit={200} /></p>}
        <p>{statementOf(report)}</p>
        {report.unchecked.map((one) => <p key={one} class="emphasis">Not checked: {one}.</p>)}
        {facts.logId === '' ? null : (
          <p class="muted">Log <code>{facts.logId}</code>, <Hostile text={facts.origin} limit={200} />; {facts.selectionKind === '' ? '' : 'selection '}
            <Hostile text={`${facts.selectionKind} ${facts.selectionText}`} limit={300} />; checkpoint of {facts.size} entries, newest anchor {facts.anchor} over {facts.anchoredSize}.</p>
        )}
        <Details facts={facts} />
      </section>
      <section><h2>Checks</h2><Checks report={report} /></section>
      <section><h2>Records</h2><Records rows={rows} report={report} /></section>
    </>
  );
}

function Page() {
  const [bundle, setBundle] = useState<File | undefined>(undefined);
  const [inputs, setInputs] = useState<Inputs>({ nonce: '', pcrs: '', pin: undefined, receipt: undefined, witnesses: undefined, maxAge: '' });
  const [over, setOver] = useState(false);
  const [part, setPart] = useState<number | undefined>(undefined);
  const [error, setError] = useState('');
  const [outcome, setOutcome] = useState<Outcome | undefined>(undefined);

  const run = async (file: File): Promise<void> => {
    setOutcome(undefined);
    setError('');
    setPart(0);
    try {
      setOutcome(await verify(file, inputs, setPart));
    } catch (why) {
      setError(why instanceof Error ? why.message : String(why));
    } finally {
      setPart(undefined);
    }
  };
  const change = (some: Partial<Inputs>): void => {
    setInputs({ ...inputs, ...some });
    setOutcome(undefined);     // a verdict belongs to what was asked
  };
  const choose = (file: File | null | undefined): void => {
    setBundle(file ?? undefined);
    setOutcome(undefined);
  };
  const busy = part !== undefined;
  return (
    <main class="verify">
      <h1><Logo /> Stele: verify an evidence bundle</h1>
      <section class={`drop${over ? ' over' : ''}`}
        onDragOver={(event) => { event.preventDefault(); setOver(true); }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          if (!busy) choose(event.dataTransfer?.files[0]);
        }}>
        <p>Drop a bundle (.tar) here, or choose it. Nothing leaves this page: its policy forbids every connection.</p>
        <div class="inputs">
          <label for="bundle">Bundle</label>
          <input id="bundle" type="file" accept=".tar" disabled={busy} onChange={(event) => choose(event.currentTarget.files?.[0])} />
          <label for="nonce">Your nonce</label>
          <input id="nonce" type="text" spellcheck={false} autocomplete="off" placeholder="64 hexadecimal digits: without it the quote may be old"
            disabled={busy} onInput={(event) => change({ nonce: event.currentTarget.value })} />
          <label for="pin">Pin (PEM)</label>
          <input id="pin" type="file" disabled={busy} onChange={(event) => change({ pin: event.currentTarget.files?.[0] })} />
          <label for="receipt">Earlier receipt</label>
          <input id="receipt" type="file" disabled={busy} onChange={(event) => change({ receipt: event.currentTarget.files?.[0] })} />
          <label for="witnesses">Witness policy</label>
          <input id="witnesses" type="file" disabled={busy} onChange={(event) => change({ witnesses: event.currentTarget.files?.[0] })} />
          <label for="max-age">Oldest cosignature</label>
          <input id="max-age" type="text" spellcheck={false} autocomplete="off" disabled={busy}
            placeholder={`seconds from the quote; ${WITNESS_MAX_AGE_S} if empty, 0 for any`}
            onInput={(event) => change({ maxAge: event.currentTarget.value })} />
          <label for="pcrs">Expected PCRs</label>
          <textarea id="pcrs" rows={3} spellcheck={false} placeholder="one a line: number and SHA-256 value" disabled={busy}
            onInput={(event) => change({ pcrs: event.currentTarget.value })} />
        </div>
        {bundle === undefined ? null : <p><Hostile text={bundle.name} limit={200} />, {bundle.size} bytes</p>}
        <button type="button" class="control primary" disabled={bundle === undefined || busy}
          onClick={() => { if (bundle !== undefined) void run(bundle); }}>Verify</button>
        {busy ? <p role="status">{Math.floor(100 * part)} %</p> : null}
        {error === '' ? null : <p role="alert" class="error"><Hostile text={error} limit={600} /></p>}
      </section>
      {outcome === undefined ? null : <Answer outcome={outcome} />}
      <p class="muted small-text">A page that came with the evidence can lie about it: take this file from a release and compare its hash.
        It follows no certificate chain of the TPM's maker and compares no two bundles; stele audit does.</p>
    </main>
  );
}

/** Why nothing can be verified here, or '' when everything can. */
async function obstacle(): Promise<string> {
  if (globalThis.crypto?.subtle === undefined) return 'it offers no cryptography to this page';
  try {
    await crypto.subtle.importKey('raw', fromHex('00'.repeat(32)), { name: 'Ed25519' }, false, ['verify']);
    return '';
  } catch {
    return 'it does not know Ed25519 signatures; use a newer one, or stele audit';
  }
}

const root = document.getElementById('root');
if (root !== null) {
  // A file dropped beside the field must not replace the page.
  for (const name of ['dragover', 'drop']) document.addEventListener(name, (event) => event.preventDefault());
  void obstacle().then((why) => render(why === '' ? <Page /> : <p role="alert">This browser cannot verify: {why}.</p>, root));
}
