// Usage: node draw.mjs RESULTS PNG [--width=1600] [--theme=light] [--rows]
// Bundles panels.jsx and lets Chromium take a picture of what it draws; with --rows, of what is in the collapsed rows.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { build } from 'esbuild';

const { values: { width, theme, rows }, positionals } = parseArgs({
  allowPositionals: true,
  options: { width: { type: 'string', default: '1600' }, theme: { type: 'string', default: 'dark' }, rows: { type: 'boolean', default: false } },
});
const [results, png] = positionals.map((path) => resolve(path));
const here = import.meta.dirname;

const bundle = await build({
  entryPoints: [join(here, 'panels.jsx')],
  alias: { answers: results },
  loader: { '.ttf': 'empty' },
  bundle: true, minify: true, write: false, outdir: here, format: 'esm', jsx: 'automatic', logLevel: 'error',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
});
const files = Object.fromEntries(bundle.outputFiles.map((file) => [file.path.endsWith('.css') ? '/panels.css' : '/panels.js', file.text]));
files['/'] = `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="panels.css">
<script>window.__grafana_public_path__ = '/'</script>
<body style="margin: 0"><div id="dashboard"></div><script type="module" src="panels.js"></script>`;

// Of the packages: Grafana's icons, and its font, which is in another.
const packaged = [
  [/^\/.*(\/img\/icons\/[\w-]+\/[\w-]+\.svg)$/, '@grafana/ui/dist/public'],
  [/^\/fonts\/inter(\/Inter-\w+\.woff2)$/, 'inter-ui/web'],
];
async function read(pathname) {
  for (const [pattern, directory] of packaged) {
    const found = pathname.match(pattern);
    if (found) return readFile(join(here, 'node_modules', directory, found[1]));
  }
  return files[pathname];
}

const types = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', woff2: 'font/woff2' };
const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  const type = types[pathname.split('.').pop()] ?? 'text/html';
  const body = await read(pathname).catch(() => undefined);
  response.writeHead(body === undefined ? 404 : 200, { 'Content-Type': type }).end(body);
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const dashboard = JSON.parse(await readFile(join(here, '../../dashboards/chatwize.json'), 'utf8'));
const grids = dashboard.panels.filter((p) => p.type === 'row' || !rows).flatMap((p) => (rows ? p.panels : [p])).map((p) => p.gridPos);
const ends = grids.map(({ y, h }) => y + h);
const cells = Number(width) < 769 ? grids.reduce((sum, { h }) => sum + h, 0) : Math.max(...ends) - Math.min(...grids.map(({ y }) => y));
const profile = await mkdtemp(join(tmpdir(), 'chatwize-picture-'));
try {
  const { stderr } = await promisify(execFile)('chromium', [
    '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--hide-scrollbars',
    '--enable-logging=stderr', `--user-data-dir=${profile}`, `--window-size=${width},${cells * 38 + 8}`, '--virtual-time-budget=20000',
    `--screenshot=${png}`, `http://127.0.0.1:${server.address().port}/?width=${width}&theme=${theme}${rows ? '&rows' : ''}`,
  ], { env: { ...process.env, TZ: 'UTC' }, timeout: 120_000 });
  const said = stderr.split('\n').filter((line) => line.includes(':CONSOLE:'));
  if (said.length > 0) throw new Error(said.join('\n'));
} finally {
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  server.close();
}
