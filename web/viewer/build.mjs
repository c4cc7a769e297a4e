// Builds the viewer into dist/ (index.html, one script, one style sheet) and verify.html (one file) into build/page/ and, to be saved from
// there, into dist/; or with --tests the unit tests into build/test/.
// The same sources give the same bytes: no time stamp, no path, no source map goes in.
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(fileURLToPath(import.meta.url));
const common = {
  absWorkingDir: root,
  bundle: true,
  format: 'esm',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  charset: 'ascii',
  logLevel: 'warning',
};

const browsers = ['chrome123', 'firefox128', 'safari17.5'];

async function buildTests() {
  const folder = join(root, 'test');
  const entryPoints = (await readdir(folder)).filter((name) => name.endsWith('_test.ts')).map((name) => join(folder, name));
  await rm(join(root, 'build/test'), { recursive: true, force: true });
  await build({
    ...common, entryPoints, outdir: join(root, 'build/test'), outExtension: { '.js': '.mjs' }, platform: 'node', target: 'node18' });
}

// Nothing but its own script and style by their hashes: no connection, no other file, no frame, no form, no string as code.
function pagePolicy(script, style) {
  const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return ["default-src 'none'", `script-src ${hash(script)}`, `style-src ${hash(style)}`, "connect-src 'none'", "base-uri 'none'",
    "form-action 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"].join('; ');
}

async function buildVerifyPage() {
  const result = await build({
    ...common, format: 'iife', entryPoints: { verify: 'src/verify_page/main.tsx' }, outdir: join(root, 'build/page'), platform: 'browser', target: browsers,
    minify: true, write: false });
  const [script, style] = ['.js', '.css'].map((end) => result.outputFiles.find((file) => file.path.endsWith(end)).text.trim());
  if (/<\/(script|style)|<!--/i.test(script + style)) throw new Error('verify.html: its parts would end early');
  const parts = { SCRIPT: script, STYLE: style, POLICY: pagePolicy(script, style) };
  const page = (await readFile(join(root, 'src/verify_page/page.html'), 'utf8')).replace(/%([A-Z]+)%/g, (_, name) => parts[name]);
  for (const out of ['build/page', 'dist']) {
    await mkdir(join(root, out), { recursive: true });
    await writeFile(join(root, out, 'verify.html'), page);
  }
  console.log(`${createHash('sha256').update(page).digest('hex')}  verify.html  ${Buffer.byteLength(page)}`);
}

async function buildViewer() {
  const out = join(root, 'dist');
  const result = await build({
    ...common,
    entryPoints: { viewer: 'src/main.tsx' },
    entryNames: '[name]-[hash]',
    outdir: out,
    platform: 'browser',
    target: browsers,
    minify: true,
    write: false,
  });
  const files = result.outputFiles.map((file) => ({ name: file.path.slice(out.length + 1), contents: file.contents }));
  const script = files.find((file) => file.name.endsWith('.js'));
  const style = files.find((file) => file.name.endsWith('.css'));
  const page = (await readFile(join(root, 'src/index.html'), 'utf8'))
    .replace('%SCRIPT%', `/${script.name}`).replace('%STYLE%', `/${style.name}`);
  files.push({ name: 'index.html', contents: Buffer.from(page) });

  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  for (const file of files.sort((a, b) => a.name.localeCompare(b.name))) {
    await writeFile(join(out, file.name), file.contents);
    const hash = createHash('sha256').update(file.contents).digest('hex');
    console.log(`${hash}  ${file.name}  ${file.contents.length}`);
  }
}

if (process.argv.includes('--tests')) {
  await buildTests();
} else {
  await buildViewer();
  await buildVerifyPage();
}
