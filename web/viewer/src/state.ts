// What the whole page shares: who is signed in, where we are (the address after #), theme and row density.
import { effect, signal } from '@preact/signals';
import type { Session } from './api.js';

export type Screen = 'search' | 'live' | 'sources' | 'network' | 'integrity';
export const SCREENS: { id: Screen; label: string; key: string }[] = [
  { id: 'search', label: 'Search', key: 's' },
  { id: 'live', label: 'Live', key: 'l' },
  { id: 'sources', label: 'Sources', key: 'o' },
  { id: 'network', label: 'Network', key: 'n' },
  { id: 'integrity', label: 'Integrity', key: 'i' },
];

export interface Route { screen: Screen; parameters: URLSearchParams }

export const session = signal<Session | null>(null);
export const sessionKnown = signal(false);
export const route = signal<Route>(readRoute());
export const helpOpen = signal(false);
export const toast = signal('');
export const now = signal(Date.now());
export const tick = (): void => { now.value = Date.now(); };

function readRoute(): Route {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2);
  const screen = SCREENS.find((s) => s.id === path)?.id ?? 'search';
  return { screen, parameters: new URLSearchParams(query) };
}

export function routeText(screen: Screen, parameters: Record<string, string | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, value);
  }
  const text = query.toString();
  return `#/${screen}${text === '' ? '' : `?${text}`}`;
}

export function go(hash: string, replace = false): void {
  if (replace) history.replaceState(null, '', hash);
  else history.pushState(null, '', hash);
  route.value = readRoute();
}

window.addEventListener('popstate', () => { route.value = readRoute(); });
window.addEventListener('hashchange', () => { route.value = readRoute(); });

export type Theme = 'auto' | 'light' | 'dark';

const stored = (name: string): string | null => localStorage.getItem(`stele.${name}`);
const storedTheme = stored('theme');

export const theme = signal<Theme>(storedTheme === 'light' || storedTheme === 'dark' ? storedTheme : 'auto');
export const compact = signal(stored('compact') === '1');
export const histogramOpen = signal(stored('histogram') !== '0');
export const wideDrawer = signal(stored('drawer') === 'wide');
/** Counts up when the colours change: what is painted on a canvas must be painted again. */
export const painted = signal(0);

effect(() => {
  document.documentElement.dataset['theme'] = theme.value;
  localStorage.setItem('stele.theme', theme.value);
  painted.value = painted.peek() + 1;
});
effect(() => {
  document.documentElement.dataset['density'] = compact.value ? 'compact' : 'normal';
  localStorage.setItem('stele.compact', compact.value ? '1' : '0');
});
effect(() => localStorage.setItem('stele.histogram', histogramOpen.value ? '1' : '0'));
effect(() => localStorage.setItem('stele.drawer', wideDrawer.value ? 'wide' : 'narrow'));
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { painted.value++; });

export const rowHeight = (): number => (compact.value ? 18 : 22);

let toastTimer = 0;
export function say(text: string): void {
  toast.value = text;
  window.clearTimeout(toastTimer);
  toastTimer = window.setTimeout(() => { toast.value = ''; }, 2500);
}

/** The clipboard gets the visible, escaped form; where the browser refuses, we say so. */
export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch {
    say('the browser refused the clipboard');
  }
}
