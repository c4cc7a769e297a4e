// Builds the viewer into dist/ (index.html, one script, one style sheet), or with --tests the unit tests into build/test/.
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

async function buildTests() {
  const folder = join(root, 'test');
  const entryPoints = (await readdir(folder)).filter((name) => name.endsWith('_test.ts')).map((name) => join(folder, name));
  await rm(join(root, 'build'), { recursive: true, force: true });
  await build({
    ...common, entryPoints, outdir: join(root, 'build/test'), outExtension: { '.js': '.mjs' }, platform: 'node', target: 'node18' });
}

async function buildViewer() {
  const out = join(root, 'dist');
  const result = await build({
    ...common,
    entryPoints: { viewer: 'src/main.tsx' },
    entryNames: '[name]-[hash]',
    outdir: out,
    platform: 'browser',
    target: ['chrome123', 'firefox128', 'safari17.5'],
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

await (process.argv.includes('--tests') ? buildTests() : buildViewer());
