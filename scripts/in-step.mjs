#!/usr/bin/env node
// Fails when generated code or documents differ from what their source gives now.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = mkdtempSync(join(tmpdir(), 'kontext-gen-'));
const list = (dir) =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => join(e.parentPath ?? e.path, e.name).slice(dir.length + 1))
    .sort();

function protocolInStep() {
  const template = readFileSync(join(root, 'buf.gen.yaml'), 'utf8').replace(
    'out: packages/protocol/src/gen',
    `out: ${JSON.stringify(out)}`,
  );
  const file = join(out, '..', `${out.split('/').pop()}.yaml`);
  writeFileSync(file, template);
  const result = spawnSync(join(root, 'node_modules/.bin/buf'), ['generate', '--template', file], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` },
  });
  rmSync(file, { force: true });
  if (result.status !== 0) return false;
  const committed = join(root, 'packages/protocol/src/gen');
  const same =
    list(out).join() === list(committed).join() &&
    list(out).every((f) => readFileSync(join(out, f), 'utf8') === readFileSync(join(committed, f), 'utf8'));
  if (!same) console.error('packages/protocol is not in step with proto/: run `npm run generate`');
  return same;
}

try {
  const protocol = protocolInStep();
  const docs =
    spawnSync(process.execPath, [join(root, 'scripts/generate-docs.mjs'), '--check'], {
      cwd: root,
      stdio: 'inherit',
    }).status === 0;
  process.exitCode = protocol && docs ? 0 : 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
