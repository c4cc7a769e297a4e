// The frame around the screens: navigation, who is signed in, what is verified, and alarms nobody can miss.
import { useEffect, useRef } from 'preact/hooks';
import { api } from './api.js';
import { KEY_HELP } from './keys.js';
import { SCREENS, type Theme, go, helpOpen, now, route, routeText, session, sessionKnown, theme, toast } from './state.js';
import { alarms, identity, seen } from './trust.js';
import { formatCount, formatDuration } from './time.js';
import { IntegrityScreen } from './screens/integrity_screen.js';
import { LiveScreen } from './screens/live_screen.js';
import { NetworkScreen } from './screens/network_screen.js';
import { SearchScreen } from './screens/search_screen.js';
import { SignIn } from './screens/sign_in.js';
import { SourcesScreen } from './screens/sources_screen.js';
import { Logo, Mark } from './ui/icons.js';
import { Hostile } from './ui/text.js';

function TrustPill() {
  const last = seen.value;
  const open = (): void => go(routeText('integrity', {}));
  if (alarms.value.length > 0) {
    return <button type="button" class="pill bad" onClick={open}><Mark kind="bad" /> NOT VERIFIED</button>;
  }
  if (last === null) return <span class="pill"><Mark kind="open" /> not checked yet</span>;
  const ago = Math.max(0, now.value - last.at);
  const unchecked = last.step === 'unchecked';
  return (
    <button type="button" class={`pill ${unchecked ? '' : 'good'}`} onClick={open}
      title={`${last.detail}${identity.value?.state === 'first' ? '; keys pinned just now' : ''}`}>
      <Mark kind={unchecked ? 'open' : 'good'} />
      {unchecked ? 'signed, not compared' : 'verified'} to #{formatCount(last.size - 1)}
      <span class="ago">{ago < 1000 ? 'now' : `${formatDuration(ago)} ago`}</span>
    </button>
  );
}

const NEXT_THEME: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' };
const THEME_SIGN: Record<Theme, string> = { auto: '\u25d0', light: '\u25cb', dark: '\u25cf' };

function Navigation() {
  const who = session.value;
  const here = route.value.screen;
  const signOut = (): void => {
    void api.signOut().finally(() => { session.value = null; });
  };
  return (
    <header class="nav">
      <span class="brand"><Logo /> STELE</span>
      <nav aria-label="Screens">
        {SCREENS.map((screen) => (
          <a key={screen.id} href={routeText(screen.id, {})} aria-current={here === screen.id ? 'page' : undefined}>{screen.label}</a>
        ))}
      </nav>
      <span class="spring" />
      <TrustPill />
      <button type="button" class="icon" aria-label={`colours: ${theme.value}`} title={`colours: ${theme.value}`}
        onClick={() => { theme.value = NEXT_THEME[theme.value]; }}>{THEME_SIGN[theme.value]}</button>
      <button type="button" class="icon" aria-label="keyboard help" title="keyboard help  ?" onClick={() => { helpOpen.value = true; }}>?</button>
      {who === null ? null : (
        <span class="who">
          <Hostile text={who.user} limit={40} /> <span class="muted">{who.role}{who.via === 'certificate' ? ', certificate' : ''}</span>
          {who.via === 'password' ? <button type="button" class="small" onClick={signOut}>Sign out</button> : null}
        </span>
      )}
    </header>
  );
}

function Alarms() {
  if (alarms.value.length === 0) return null;
  return (
    <div class="alarms" role="alert">
      {alarms.value.map((alarm) => (
        <p key={alarm.id}><Mark kind="bad" /><strong><Hostile text={alarm.title} limit={300} /></strong> <Hostile text={alarm.detail} limit={600} /></p>
      ))}
    </div>
  );
}

function Help() {
  const close = useRef<HTMLButtonElement>(null);
  const open = helpOpen.value;
  useEffect(() => {
    if (!open) return undefined;
    const before = document.activeElement;
    close.current?.focus();
    return () => { if (before instanceof HTMLElement) before.focus(); };
  }, [open]);
  if (!open) return null;
  return (
    <div class="overlay" onClick={() => { helpOpen.value = false; }}>
      <div class="help" role="dialog" aria-modal="true" aria-label="Keyboard" onClick={(e) => e.stopPropagation()}>
        <h2>Keyboard</h2>
        <dl>{KEY_HELP.map(([keys, what]) => <div key={keys}><dt><kbd>{keys}</kbd></dt><dd>{what}</dd></div>)}</dl>
        <h2>Query</h2>
        <p>Words and <code>"phrases"</code> are found anywhere, upper or lower case; next to each other they must all be there. <code>OR</code>, <code>NOT</code> or <code>-</code>, parentheses,
          {' '}<code>/regex/i</code>, <code>wild*cards</code>, addresses and networks (<code>10.1.0.0/16</code>), fields: <code>host:fw1</code> <code>app:sshd</code> <code>severity&lt;=warning</code>
          {' '}<code>json.user.name:anna</code> <code>kind:access</code>.</p>
        <h2>Marks</h2>
        <p class="marks"><span><Mark kind="good" /> proven</span><span><Mark kind="part" /> entry proven, payload partly here</span>
          <span><Mark kind="open" /> not yet under a checkpoint</span><span class="bad-text"><Mark kind="bad" /> FALSE</span></p>
        <button type="button" class="control" ref={close} onClick={() => { helpOpen.value = false; }}>Close <kbd>Esc</kbd></button>
      </div>
    </div>
  );
}

function CurrentScreen() {
  switch (route.value.screen) {
    case 'search': return <SearchScreen />;
    case 'live': return <LiveScreen key="live" />;
    case 'sources': return <SourcesScreen />;
    case 'network': return <NetworkScreen />;
    case 'integrity': return <IntegrityScreen />;
  }
}

export function App() {
  if (!sessionKnown.value) return <p class="starting" role="status">Connecting{'\u2026'}</p>;
  if (session.value === null) return <SignIn />;
  return (
    <div class="app">
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.getElementById('main')?.querySelector('input')?.focus(); }}>Skip to the content</a>
      <Navigation />
      <Alarms />
      <CurrentScreen />
      <Help />
      {toast.value === '' ? null : <p class="toast" role="status">{toast.value}</p>}
    </div>
  );
}
