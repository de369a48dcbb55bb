#!/usr/bin/env node
// Everything the gate runs except the tests, each step to its end, so that one run shows every failure.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const steps = [
  ['types', 'tsc', ['-p', '.']],
  ['format and lint', 'biome', ['check', '--max-diagnostics=200', '--error-on-warnings', '.']],
  ['walls', process.execPath, ['scripts/walls.mjs']],
  ['error codes', process.execPath, ['scripts/error-codes.mjs']],
  ['dead code', 'knip', ['--no-progress']],
  ['proto lint', 'buf', ['lint']],
  ['generated in step', process.execPath, ['scripts/in-step.mjs']],
];

const failed = [];
for (const [name, command, args] of steps) {
  const started = Date.now();
  const path = command === process.execPath ? command : `${root}node_modules/.bin/${command}`;
  const result = spawnSync(path, args, { cwd: root, stdio: 'inherit' });
  const ok = result.status === 0;
  console.error(`check: ${ok ? 'ok' : 'FAILED'}: ${name} (${Date.now() - started} ms)`);
  if (!ok) failed.push(name);
}
if (failed.length > 0) {
  console.error(`check: failed: ${failed.join(', ')}`);
  process.exit(1);
}
