// The keyboard, in one place. The screen on top registers what its keys do; typing into a field is left alone.
import { useEffect } from 'preact/hooks';
import { SCREENS, go, helpOpen, routeText } from './state.js';

export type KeyMap = Record<string, (event: KeyboardEvent) => void>;

const layers: KeyMap[] = [];
let pendingG = 0;

export function useKeys(map: KeyMap): void {
  useEffect(() => {
    layers.push(map);
    return () => { layers.splice(layers.indexOf(map), 1); };
  });
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

function isControl(target: EventTarget | null): boolean {
  return target instanceof HTMLButtonElement || target instanceof HTMLAnchorElement ||
    (target instanceof HTMLElement && target.tagName === 'SUMMARY');
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isTyping(event.target)) {
    if (event.key === 'Escape' && event.target instanceof HTMLElement) event.target.blur();
    return;
  }
  // Enter and space belong to the button that has the focus.
  if (isControl(event.target) && (event.key === 'Enter' || event.key === ' ')) return;
  if (Date.now() - pendingG < 1200) {
    const screen = SCREENS.find((s) => s.key === event.key);
    pendingG = 0;
    if (screen !== undefined) {
      event.preventDefault();
      go(routeText(screen.id, {}));
      return;
    }
  }
  if (event.key === 'g') {
    pendingG = Date.now();
    return;
  }
  if (event.key === '?') {
    helpOpen.value = !helpOpen.value;
    return;
  }
  if (event.key === 'Escape' && helpOpen.value) {
    helpOpen.value = false;
    return;
  }
  for (let i = layers.length - 1; i >= 0; i--) {
    const action = layers[i]?.[event.key];
    if (action !== undefined) {
      event.preventDefault();
      action(event);
      return;
    }
  }
}

export function listenToKeys(): void {
  window.addEventListener('keydown', onKey);
}

export const KEY_HELP: [string, string][] = [
  ['/', 'write a query'], ['Enter', 'run the query, or open the event'], ['j  k  \u2193  \u2191', 'next, previous row'],
  ['PgDn  PgUp', 'a page'], ['Home  End', 'first, last loaded row'],
  ['Esc', 'close'], ['c', 'context: neighbours from the same source'], ['v', 'verify the row again, show its proof'],
  ['p', 'pin the row'], ['y', 'copy the row as shown (escaped)'], ['Y', 'copy a permalink'],
  ['[  ]', 'shift the time window'], ['+  \u2212', 'narrow, widen the time window'], ['e  E', 'next, previous error'],
  ['w  W', 'next, previous warning'], ['space', 'pause or resume the live tail'],
  ['g  s/l/o/n/i', 'go to Search, Live, Sources, Network, Integrity'], ['?', 'this help'],
];
