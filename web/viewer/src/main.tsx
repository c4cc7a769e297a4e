import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import './style/tokens.css';
import './style/base.css';
import './style/list.css';
import './style/screens.css';
import './style/network.css';
import { App } from './app.js';
import { ApiError, api, setOnUnauthorized } from './api.js';
import { listenToKeys } from './keys.js';
import { Insecure } from './screens/sign_in.js';
import { session, sessionKnown, tick } from './state.js';
import { ensureIdentity, raise } from './trust.js';

/** Why nothing can be verified here, or '' when everything can. */
async function obstacle(): Promise<string> {
  if (!window.isSecureContext || globalThis.crypto?.subtle === undefined) return 'the page did not come over a secure connection';
  try {
    await crypto.subtle.importKey('raw', new Uint8Array(32), { name: 'Ed25519' }, false, ['verify']);
    return '';
  } catch {
    return 'it does not know Ed25519 signatures; use a newer browser';
  }
}

async function start(root: HTMLElement): Promise<void> {
  const why = await obstacle();
  if (why !== '') {
    render(<Insecure why={why} />, root);
    return;
  }
  setOnUnauthorized(() => { session.value = null; });
  listenToKeys();
  window.setInterval(tick, 1000);
  render(<App />, root);
  try {
    session.value = await api.session();
    await ensureIdentity();
  } catch (error) {
    // What the appliance refuses, the screens show; what it says and cannot be right is an alarm.
    if (!(error instanceof ApiError)) {
      raise('identity', 'The keys of this appliance cannot be read', error instanceof Error ? error.message : String(error));
    }
  } finally {
    sessionKnown.value = true;
  }
}

const root = document.getElementById('root');
if (root !== null) void start(root);
