// The steps of a verification, each with its own tick or cross.
import type { Check } from '../verify/record.js';
import { Mark } from './icons.js';
import { Hostile } from './text.js';

export function CheckList({ checks }: { checks: Check[] }) {
  return (
    <ul class="checks">
      {checks.map((check) => (
        <li key={check.name} class={check.ok === true ? 'good' : check.ok === false ? 'bad' : 'open'}>
          <Mark kind={check.ok === true ? 'good' : check.ok === false ? 'bad' : 'open'} />
          <span class="check-name">{check.name}<span class="sr-only">
            {check.ok === true ? ': good. ' : check.ok === false ? ': failed. ' : ': not checked. '}</span></span>
          <Hostile text={check.detail} class="check-detail" limit={600} />
        </li>
      ))}
    </ul>
  );
}
