/**
 * The program that is run: absent, not executable, ended in every way.
 *
 * Where each kind of trouble is shown, from outside here in `apps/e2e/src`, and cause by cause in a room:
 *
 * | trouble | from outside | in the room |
 * |---|---|---|
 * | backend not running, wrong URL, TLS error | `login/wrong-backend` | `cli: rpc/rpc-errors` |
 * | clock skew | `login/wrong-backend` (real, both ways) | `cli: login/access-tokens` (its code) |
 * | expired device code, denied approval, Ctrl-C | `login/not-approved` | `backend: http/oauth/rotation` |
 * | keyring absent, locked | `login/without-keyring` | `cli: login/keyring-store` (hanging too) |
 * | template missing, malformed, unreadable, not UTF-8 | `trouble/template` | `env-template: parse-env-template` |
 * | unknown provider, not connected, terminal or not | `trouble/template` | `cli: session/resolve-or-ask` |
 * | agent missing, not executable, ended by a signal | here | `cli: session/spawn-agent`, `commands/start` |
 * | hook stdin empty, truncated, huge, not JSON, deep | `trouble/hook-input` | `cli: hooks/decide-and-record` |
 * | `tool_response` as array or string | `trouble/hook-input` | `cli: agents/claude` |
 * | hook server gone | `trouble/hook-input`, `claude/hook-server-gone` | `cli: hooks/client` |
 */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AuditTail, followAudit } from '../follow-audit.ts';
import { pathWithAgent, writeTemplate } from '../puppet.ts';
import { startCommand, startInTerminal } from '../running-command.ts';
import { logIn, startWorld, type World } from '../world.ts';

let world: World;
let tail: AuditTail;
/** Folders of ordinary programs, where no coding agent is looked for. */
const plainPath = '/usr/bin:/bin';
const hasScript = existsSync('/usr/bin/script');

beforeAll(async () => {
  world = await startWorld({ upstream: false });
  writeTemplate(world, 'LOG_LEVEL=debug\n');
});
afterAll(async () => {
  await tail?.stop();
  await world?.close();
});

describe('before any login', () => {
  it('a missing agent is exit 127', async () => {
    const result = await world.cli(['start', '--agent', 'claude'], { env: { PATH: plainPath } });

    expect(result.exitCode).toBe(127);
    expect(result.stderr).toMatch(/claude was not found[\s\S]*KX_AGENT_NOT_FOUND[\s\S]*next: install claude/);
  });

  it('an agent that is not executable is exit 126', async () => {
    const PATH = pathWithAgent(world, '#!/bin/sh\n', 0o644).replace(/:.*/, `:${plainPath}`);

    const result = await world.cli(['start', '--agent', 'claude'], { env: { PATH } });

    expect(result.exitCode).toBe(126);
    expect(result.stderr).toMatch(/KX_AGENT_NOT_EXECUTABLE[\s\S]*next: check its file permissions/);
  });

  it.each([
    ['no-such-program', 127],
    ['./script.sh', 126],
  ])('`kontext run -- %s` is exit %s', async (program, exitCode) => {
    writeFileSync(join(world.home.workDir, 'script.sh'), '#!/bin/sh\n', { mode: 0o644 });

    expect(await world.cli(['run', '--', program])).toMatchObject({ exitCode, stdout: '' });
  });

  it('an agent we do not know is a wrong command line', async () => {
    const result = await world.cli(['start', '--agent', 'hal9000']);

    expect(result.exitCode).toBe(64);
    expect(result.stderr).toContain('next: use one of: claude');
  });

  it('a found program then asks for the login, which nobody can give without a terminal', async () => {
    const result = await world.cli(['run', '--', 'true'], { env: { KONTEXT_LOGIN_STORE: 'file' } });

    expect(result.exitCode).toBe(77);
    expect(result.stderr).toMatch(/KX_NOT_LOGGED_IN[\s\S]*next: run `kontext login`/);
  });
});

describe('after it has run', () => {
  beforeAll(async () => {
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    tail = followAudit(world);
  });

  let ended = 0;
  /** Every way out ends the session, and the log says with which exit code. */
  async function sessionEnded(): Promise<unknown> {
    ended += 1;
    const seen = () => tail.events.filter(({ kind }) => kind === 'session.ended');
    await tail.waitFor(() => seen().length >= ended);
    return JSON.parse(seen()[ended - 1]?.payload ?? '{}');
  }

  it.each([0, 1, 2, 3, 255])('its exit code %s is ours', async (code) => {
    const result = await world.cli(['run', '--', 'sh', '-c', `exit ${code}`]);

    expect(result.exitCode).toBe(code);
    expect(JSON.stringify(await sessionEnded())).toContain(String(code));
  });

  it.each([
    ['TERM', 143],
    ['KILL', 137],
    ['HUP', 129],
  ])('its death by SIG%s is 128 + n', async (signal, code) => {
    const result = await world.cli(['run', '--', 'sh', '-c', `kill -${signal} $$`]);

    expect(result.exitCode).toBe(code);
    await sessionEnded();
  });

  it('SIGTERM to us reaches it, and its own end decides', async () => {
    const script = "trap 'echo cleaned up; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    const command = startCommand(world, ['run', '--', 'sh', '-c', script]);

    await command.waitFor(/ready/);
    command.kill('SIGTERM');
    const result = await command.ended;

    expect(result).toMatchObject({ exitCode: 7, stdout: 'ready\ncleaned up\n' });
    await sessionEnded();
  });

  it.skipIf(!hasScript)('Ctrl-C in a terminal reaches it once, and it may clean up', async () => {
    const script = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done";
    const command = startInTerminal(world, ['run', '--', 'sh', '-c', script]);

    await command.waitFor(/ready/);
    command.type('\u0003');
    const result = await command.ended;

    expect(result.exitCode).toBe(5);
    expect(result.stdout.match(/caught/g)).toHaveLength(1);
    await sessionEnded();
  });

  it.skipIf(!hasScript)('Ctrl-C that ends it is 130', async () => {
    // Not a shell: dash swallows a Ctrl-C that comes while it starts its next command.
    const script = "console.log('ready'); setTimeout(() => {}, 60_000)";
    const command = startInTerminal(world, ['run', '--', process.execPath, '-e', script]);

    await command.waitFor(/ready/);
    command.type('\u0003');

    expect((await command.ended).exitCode).toBe(130);
    await sessionEnded();
  });

  it('its death in a session with hooks is passed on too, and leaves no socket behind', async () => {
    const PATH = pathWithAgent(world, '#!/bin/sh\nkill -KILL $$\n');

    const result = await world.cli(['start', '--agent', 'claude', '--trust'], { env: { PATH } });

    expect(result.exitCode).toBe(137);
    await sessionEnded();
    expect(leftovers()).toEqual([]);
  });

  const leftovers = (): string[] => {
    const runtime = join(world.env.XDG_RUNTIME_DIR ?? '', 'kontext');
    return existsSync(runtime) ? readdirSync(runtime) : [];
  };
});
