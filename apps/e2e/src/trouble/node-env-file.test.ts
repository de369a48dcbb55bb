import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand, type ScratchHome, scratchHome } from '@kontext/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { repositoryRoot } from '../programs.ts';

let home: ScratchHome;
beforeAll(() => {
  home = scratchHome();
});
afterAll(() => home.remove());

// Node 20 loads the file of an `--env-file` that stands among a script's own arguments, NODE_OPTIONS included.
it('runs no code that a cloned template names, before or after trust is asked', async () => {
  const proof = join(home.root, 'was-run');
  const hostile = join(home.root, 'hostile.cjs');
  writeFileSync(hostile, `require('node:fs').writeFileSync(${JSON.stringify(proof)}, '');`);
  writeFileSync(join(home.workDir, 'evil.env'), `NODE_OPTIONS=--require ${hostile}\n`);
  const kontext = fileURLToPath(new URL('apps/cli/dist/main.js', repositoryRoot()));

  const run = await runCommand(kontext, ['run', '--env-file', 'evil.env', '--strict', '--', 'true'], {
    cwd: home.workDir,
    env: home.env,
  });

  expect(run.stderr).toContain('KX_TEMPLATE_REFUSED_NAME');
  expect(run.exitCode).toBe(65);
  expect(existsSync(proof)).toBe(false);
});
