/** What both browser scripts count: a line for every check, and at the end whether all hold. */
let failures = 0;
let count = 0;

export function check(good, what, detail = '') {
  count++;
  if (!good) failures++;
  console.log(`${good ? 'ok' : 'FAILED'} ${count} - ${what}${good || detail === '' ? '' : `: ${detail}`}`);
}

/** Ends the process with the verdict; `note` goes behind a good one. */
export function finish(note = '') {
  console.log(failures === 0 ? `all ${count} checks hold${note}` : `${failures} of ${count} checks FAILED`);
  process.exit(failures === 0 ? 0 : 1);
}
