#!/usr/bin/env node
// Every code of the error table is used by code that ships and named by a test; a code that nothing throws is a promise.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tables = ['table', 'table-identity', 'table-credentials'].map(
  (name) => `packages/errors/src/${name}.ts`,
);

function* sources(dir) {
  for (const entry of readdirSync(join(root, dir), { withFileTypes: true })) {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory() && !['node_modules', 'dist', 'gen'].includes(entry.name)) yield* sources(path);
    else if (entry.name.endsWith('.ts') && !tables.includes(path)) yield path;
  }
}

const used = new Set();
const tested = new Set();
for (const path of [...sources('packages'), ...sources('apps')]) {
  const seen = path.endsWith('.test.ts') ? tested : used;
  for (const [code] of readFileSync(join(root, path), 'utf8').matchAll(/\bKX_[A-Z0-9_]+/g)) seen.add(code);
}

const codes = tables.flatMap((table) =>
  [...readFileSync(join(root, table), 'utf8').matchAll(/^ {2}(KX_[A-Z0-9_]+):/gm)].map(([, code]) => code),
);
const unused = codes.filter((code) => !used.has(code));
const untested = codes.filter((code) => !tested.has(code));
for (const code of unused) console.error(`error codes: nothing uses ${code}`);
for (const code of untested) console.error(`error codes: no test names ${code}`);
console.error(`error codes: ${codes.length} in the table`);
process.exit(codes.length > 0 && unused.length + untested.length === 0 ? 0 : 1);
