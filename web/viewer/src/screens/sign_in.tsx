// Sign-in with a name and a password, where no client certificate did it already.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, api } from '../api.js';
import { session } from '../state.js';
import { Logo } from '../ui/icons.js';
import { Hostile } from '../ui/text.js';

export function SignIn() {
  const [user, setUser] = useState('');
  const [password, setPassword] = useState('');
  const [error, setError] = useState('');
  const [busy, setBusy] = useState(false);
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);

  const submit = (event: Event): void => {
    event.preventDefault();
    setBusy(true);
    setError('');
    api.signIn(user, password)
      .then(() => api.session())
      .then((who) => { session.value = who; })
      .catch((reason: unknown) => {
        setPassword('');
        setError(reason instanceof ApiError && reason.status === 401 ? 'The name or the password is wrong.'
          : reason instanceof Error ? reason.message : String(reason));
      })
      .finally(() => setBusy(false));
  };

  return (
    <main class="sign-in" id="main">
      <form onSubmit={submit} aria-labelledby="sign-in-title">
        <h1 id="sign-in-title"><Logo /> STELE</h1>
        <p class="muted">Every search, tail and export made here is itself a record of the log, under your name.</p>
        <label>Name<input type="text" name="user" value={user} autocomplete="username" autocapitalize="none" spellcheck={false} required
          ref={first} onInput={(e) => setUser(e.currentTarget.value)} /></label>
        <label>Password<input type="password" name="password" value={password} autocomplete="current-password" required
          onInput={(e) => setPassword(e.currentTarget.value)} /></label>
        {error === '' ? null : <p class="error" role="alert"><Hostile text={error} /></p>}
        <button type="submit" class="control primary" disabled={busy}>{busy ? 'Signing in' : 'Sign in'}</button>
        <p class="muted small-text">With a client certificate of this appliance's own CA there is nothing to type: install it in the browser and open this page again.</p>
      </form>
    </main>
  );
}

/** Without a secure context the browser has no cryptography, and an unverified viewer would be a lie. */
export function Insecure({ why }: { why: string }) {
  return (
    <main class="sign-in" id="main">
      <div class="hard-error" role="alert">
        <h1>Nothing is shown here</h1>
        <p>This viewer verifies every record in your browser, and this browser cannot: {why}.</p>
        <p>Open the appliance over <code>https://</code> with a name in its certificate. On its own console, <code>https://localhost</code> works too.</p>
      </div>
    </main>
  );
}
