// Integrity: what the appliance claims about its log, and what this browser found when it checked the claims.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { type Examined, examine, examineError, examined, examining } from '../integrity.js';
import type { Mvw, Vulnerability } from '../api.js';
import type { AnchorData } from '../verify/anchor.js';
import type { Check } from '../verify/record.js';
import { alarms, identity, seen, trustAnew } from '../trust.js';
import { formatCount, formatDuration } from '../time.js';
import { useKeys } from '../keys.js';
import { CheckList } from '../ui/check_list.js';
import { Mark } from '../ui/icons.js';
import { Hostile } from '../ui/text.js';

function Card({ title, children, class: className = '' }: { title: string; children: ComponentChildren; class?: string }) {
  return <section class={`card ${className}`}><h2>{title}</h2>{children}</section>;
}

function Term({ name, children }: { name: string; children: ComponentChildren }) {
  return <div class="term"><dt>{name}</dt><dd>{children}</dd></div>;
}

const Hash = ({ value }: { value: string }) => <span class="mono hash"><Hostile text={value} limit={140} /></span>;

/** The one line an auditor reads first. Never a bare OK: the qualifiers stand beside it. */
function Summary({ found }: { found: Examined }) {
  const verdict = found.answer.verdict;
  const failed = [
    ...(found.checkpoint?.ok === false ? ['checkpoint'] : []), ...found.checkpoints.filter((c) => !c.verdict.ok || c.register.ok === false).map((c) => `checkpoint ${c.data.size}`),
    ...found.anchors.filter((a) => !a.verdict.ok || a.note.ok === false).map((a) => `anchor ${a.number}`)];
  const good = failed.length === 0 && alarms.value.length === 0 && identity.value?.state !== 'changed';
  const claims = verdict === undefined ? '' : verdict.word;
  const calm = claims === '' || claims === 'OK' || claims.startsWith('OK_');
  return (
    <section class={`summary ${good ? 'good' : 'bad'}`} aria-live="polite">
      <Mark kind={good ? 'good' : 'bad'} />
      <div>
        <p class="summary-word">{good ? 'Everything shown here verifies in this browser'
          : `This does not verify: ${failed.slice(0, 6).join(', ') || alarms.value[0]?.title || 'the keys changed'}`}</p>
        <p class="muted">{found.checkpoints.length} checkpoints and {found.anchors.length} TPM anchors, signatures, register chain and counters, in {Math.round(found.tookMs)} ms.</p>
      </div>
      <div class="claim">
        <p><span class="muted">the appliance says</span> <strong class={calm ? '' : 'bad-text'}><Hostile text={claims === '' ? 'nothing' : claims} limit={60} /></strong>
          {(verdict?.qualifiers ?? []).map((q) => <span key={q} class="qualifier"><Hostile text={q} limit={60} /></span>)}</p>
        {verdict?.detail === undefined || verdict.detail === '' ? null : <p class="muted"><Hostile text={verdict.detail} limit={400} /></p>}
      </div>
    </section>
  );
}

function Window({ label, value, meaning }: { label: string; value: Vulnerability | undefined; meaning: string }) {
  return (
    <div class="window">
      <p class="window-label">{label}</p>
      <p class="window-value">{value?.records === null || value === undefined ? '?' : formatCount(value.records)} <small>records</small>
        <span>{value?.ms === null || value === undefined ? '?' : formatDuration(value.ms)}</span></p>
      <p class="muted">{meaning}</p>
    </div>
  );
}

function Vulnerable({ mvw }: { mvw: Mvw | undefined }) {
  return (
    <Card title="What is not protected yet">
      <div class="windows">
        <Window label="same boot" value={mvw?.same_boot}
          meaning="Since the last TPM register extend. Losing these and a crash are the same picture." />
        <Window label="across a boot" value={mvw?.across_boot}
          meaning="Since the last anchor. Disk rolled back within this and rebooted is seen only by whoever holds a later receipt." />
      </div>
    </Card>
  );
}

function CheckpointCard({ found }: { found: Examined }) {
  const { answer, checkpoint } = found;
  if (answer.checkpoint === null || checkpoint === null) {
    return <Card title="Newest checkpoint"><p class="empty">No checkpoint has been made yet.</p></Card>;
  }
  return (
    <Card title="Newest checkpoint">
      <dl class="terms">
        <Term name="Log"><Hostile text={answer.origin} limit={200} /></Term>
        <Term name="Log id"><Hash value={answer.log_id} /></Term>
        <Term name="Size">{formatCount(answer.checkpoint.size)} entries</Term>
        <Term name="Root"><Hash value={answer.checkpoint.root} /></Term>
        <Term name="Made"><span class="mono"><Hostile text={answer.checkpoint.time.replace('T', ' ')} limit={40} /></span></Term>
      </dl>
      <CheckList checks={checkpoint.checks} />
      <details class="raw"><summary>the signed note</summary><pre><Hostile text={answer.checkpoint.note} breaks limit={4000} /></pre></details>
    </Card>
  );
}

function visitCheck(): Check {
  const now = seen.value;
  if (alarms.value.some((a) => ['rolled-back', 'rewritten', 'inconsistent', 'follow'].includes(a.id))) {
    return { name: 'your last visit', ok: false, detail: alarms.value[0]?.detail ?? '' };
  }
  if (now === null) return { name: 'your last visit', ok: null, detail: 'being compared' };
  const visit = now.visit;
  if (visit === undefined) return { name: 'your last visit', ok: null, detail: 'first visit of this browser: the tree is remembered from now on' };
  return { name: 'your last visit', ok: now.step !== 'unchecked',
    detail: `${now.step === 'unchecked' ? now.detail : 'contains'} the ${visit.size} entries seen ${formatDuration(Date.now() - Date.parse(visit.time))} ago` };
}

function KeysCard() {
  const who = identity.value;
  const [sure, setSure] = useState(false);
  if (who === null) return null;
  const changed = who.state === 'changed';
  return (
    <Card title="Keys this browser has pinned" class={changed ? 'changed' : ''}>
      <dl class="terms">
        <Term name="Log key"><span class="mono fingerprint">{who.fingerprint}</span></Term>
        <Term name="In words">{who.words}</Term>
        <Term name="Attestation key"><span class="mono fingerprint">{who.akFingerprint || 'none shown yet'}</span></Term>
        <Term name="Pinned">{who.pin.since.slice(0, 19).replace('T', ' ')} UTC{who.state === 'first' ? ', just now: compare the fingerprints with those on the appliance\u2019s console' : ''}</Term>
      </dl>
      <CheckList checks={[
        { name: 'same keys', ok: !changed, detail: changed ? `changed: ${who.changed.join(', ')}` : 'the appliance shows the keys that are pinned' },
        visitCheck()]} />
      {!changed ? null : (
        <div class="anew">
          <p>The appliance now shows:</p>
          <dl class="terms">
            <Term name="Log id"><Hash value={who.seen.logId} /></Term>
            <Term name="Log key"><span class="mono"><Hostile text={who.seen.vkey} limit={300} /></span></Term>
            <Term name="In words">{who.seenWords}</Term>
          </dl>
          <label class="check"><input type="checkbox" checked={sure} onChange={() => setSure(!sure)} /> I have compared these with the appliance's console and know why they changed</label>
          <button type="button" class="control danger" disabled={!sure} onClick={trustAnew}>Pin the new keys</button>
        </div>
      )}
    </Card>
  );
}

function AnchorDetail({ anchor, found }: { anchor: AnchorData; found: Examined }) {
  const result = found.anchors.find((a) => a.number === anchor.number);
  if (result === undefined) return null;
  const { quote, checks } = result.verdict;
  return (
    <div class="anchor-detail">
      <CheckList checks={[...checks, result.note]} />
      {quote === null ? null : (
        <details class="raw">
          <summary>TPMS_ATTEST, field by field</summary>
          <table class="table attest">
            <thead><tr><th class="number">Offset</th><th class="number">Bytes</th><th>Field</th><th>Value</th></tr></thead>
            <tbody>{quote.fields.map((f) => (
              <tr key={f.offset + f.name}><td class="number mono">{f.offset}</td><td class="number mono">{f.length}</td><td>{f.name}</td>
                <td class="mono hash">{f.value}</td></tr>))}</tbody>
          </table>
        </details>
      )}
    </div>
  );
}

function Anchors({ found }: { found: Examined }) {
  const anchors = [...found.answer.anchors].sort((a, b) => b.number - a.number);
  const [open, setOpen] = useState<number | null>(null);
  const shown = open ?? anchors[0]?.number ?? -1;
  const provisioning = found.answer.provisioning;
  const tpm = found.answer.tpm;
  return (
    <Card title={`TPM anchors (${anchors.length})`} class="wide-card">
      <p class="muted">Each anchor is three structures signed by the TPM: a quote of the register every checkpoint extends, the NV counter, and the NV index that chains all anchors through all boots.
        {provisioning?.software_tpm === true ? ' This TPM is a software TPM: whoever owns the host owns it too.' : ''}
        {tpm?.nv_writes === undefined || tpm.nv_budget === undefined ? '' : ` NV writes used: ${formatCount(tpm.nv_writes)} of ${formatCount(tpm.nv_budget)}.`}</p>
      {tpm?.unanchored_since === null || tpm?.unanchored_since === undefined ? null
        : <p class="emphasis">{'\u25b2'} No anchor since <Hostile text={String(tpm.unanchored_since)} limit={40} />.</p>}
      {anchors.length === 0 ? <p class="empty">No anchor has been made yet.</p> : (
        <table class="table anchors">
          <thead><tr><th>Quote</th><th class="number">Anchor</th><th>Time</th><th class="number">Size</th><th class="number">Counter</th>
            <th class="number">Reset</th><th class="number">Restart</th><th>Clock safe</th><th>PCR 14</th><th /></tr></thead>
          <tbody>
            {anchors.map((anchor) => {
              const result = found.anchors.find((a) => a.number === anchor.number);
              const good = result?.verdict.ok === true && result.note.ok !== false;
              return [
                <tr key={anchor.number} class={good ? 'good' : 'bad'} data-anchor={anchor.number} data-state={good ? 'proven' : 'false'}>
                  <td class="proof"><Mark kind={good ? 'good' : 'bad'} /> {good ? 'verified' : 'FALSE'}</td>
                  <td class="number mono">{formatCount(anchor.number)}{anchor.late === true ? <span class="flag">late</span> : null}</td>
                  <td class="mono">{anchor.time.slice(0, 19).replace('T', ' ')}</td>
                  <td class="number mono">{formatCount(anchor.size)}</td>
                  <td class="number mono">{formatCount(anchor.counter)}</td>
                  <td class="number mono">{result?.verdict.quote?.resetCount ?? '?'}</td>
                  <td class="number mono">{result?.verdict.quote?.restartCount ?? '?'}</td>
                  <td>{result?.verdict.quote?.safe === true ? 'yes' : 'no'}</td>
                  <td class="mono">{anchor.pcr.slice(0, 16)}{'\u2026'}</td>
                  <td><button type="button" class="small" aria-expanded={shown === anchor.number}
                    onClick={() => setOpen(shown === anchor.number ? -1 : anchor.number)}>{shown === anchor.number ? 'Hide' : 'Show'}</button></td>
                </tr>,
                shown === anchor.number
                  ? <tr key={`${anchor.number}-detail`} class="detail-row"><td colSpan={10}><AnchorDetail anchor={anchor} found={found} /></td></tr> : null,
              ];
            })}
          </tbody>
        </table>
      )}
    </Card>
  );
}

function Checkpoints({ found }: { found: Examined }) {
  return (
    <Card title={`Checkpoints (newest ${found.checkpoints.length})`} class="wide-card">
      <table class="table checkpoints">
        <thead><tr><th>Signature</th><th>PCR chain</th><th>Time</th><th class="number">Size</th><th>Root</th><th class="number">Entry</th>
          <th class="number">Boot</th><th class="number">No.</th><th>Digest</th></tr></thead>
        <tbody>
          {found.checkpoints.map(({ data, verdict, digest, register }) => (
            <tr key={data.size} class={verdict.ok && register.ok !== false ? '' : 'bad'}>
              <td title={verdict.checks.map((c) => `${c.name}: ${c.detail}`).join('\n')}>
                <Mark kind={verdict.ok ? 'good' : 'bad'} /> {verdict.ok ? 'verified' : 'FALSE'}</td>
              <td title={register.detail}><Mark kind={register.ok === true ? 'good' : register.ok === false ? 'bad' : 'open'} /> {register.ok === true ? 'follows' : register.ok === false ? 'FALSE' : 'last'}</td>
              <td class="mono"><Hostile text={data.time.replace('T', ' ')} limit={24} /></td>
              <td class="number mono">{formatCount(data.size)}</td>
              <td class="mono">{data.root.slice(0, 16)}{'\u2026'}</td>
              <td class="number mono">{formatCount(data.seq)}</td>
              <td class="number mono">{data.intent === undefined ? '' : `${data.intent.reset_count}.${data.intent.restart_count}`}</td>
              <td class="number mono">{data.intent === undefined ? '' : formatCount(data.intent.number)}</td>
              <td class="mono">{digest.slice(0, 16)}{'\u2026'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

function HonestLimit() {
  return (
    <section class="limit" aria-label="What this page cannot prove">
      <Mark kind="open" />
      <div>
        <p><strong>This page is code from the appliance it checks.</strong> If the appliance itself is taken over, the code it sends can lie to you.</p>
        <p>What speaks against that: the keys and the newest tree are remembered in this browser, so a changed key or a shorter log is noticed. What settles it: run
          {' '}<code>stele audit</code> on a bundle on another machine, with the pinned provisioning key, from media the appliance never wrote.</p>
      </div>
    </section>
  );
}

export function IntegrityScreen() {
  useEffect(() => { void examine(); }, []);
  useKeys({ 'v': () => void examine() });
  const found = examined.value;
  return (
    <main class="screen page" id="main" aria-busy={examining.value}>
      <div class="page-head">
        <h1>Integrity</h1>
        <button type="button" class="control" disabled={examining.value} onClick={() => void examine()}>
          {examining.value ? 'Verifying' : 'Verify all again'} <kbd>v</kbd></button>
      </div>
      {examineError.value === '' ? null : <p class="error" role="alert"><Hostile text={examineError.value} /></p>}
      {found === null ? null : <>
        <Summary found={found} />
        <HonestLimit />
        <div class="cards">
          <CheckpointCard found={found} />
          <div class="stack">
            <KeysCard />
            <Vulnerable mvw={found.answer.mvw} />
          </div>
          <Anchors found={found} />
          <Checkpoints found={found} />
        </div>
      </>}
    </main>
  );
}
