/**
 * Credentials that live shorter than the session, with the built programs: what asks the session gets the newest, a process that
 * runs keeps what it was given; and what the end of a session, however it comes, leaves.
 *
 * What else can go wrong with a renewal: `apps/backend/src/credentials/renew-leases.test.ts`.
 */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addUpstream, followConnect } from '../demo/steps.ts';
import { findUndocumented } from '../find-undocumented.ts';
import type { TailedEvent } from '../follow-audit.ts';
import { pathWithAgent, startPuppet, writeTemplate } from '../puppet.ts';
import { logIn, startWorld, type World } from '../world.ts';

/** Seconds a token lives at the provider. A lease is 30 s shorter. */
const tokenSeconds = 45;

/** Asks git for the credential, again until it is another one; leaves what it saw in files. */
const agentScript = `#!/bin/sh
ask() { printf 'protocol=https\\nhost=%s\\n\\n' "$GIT_HOST" | GIT_TERMINAL_PROMPT=0 git credential fill; }
printf %s "$GITLAB_TOKEN" > "$OUT/env-before"
ask > "$OUT/first" 2> "$OUT/errors"
i=0
while [ $i -lt 60 ]; do
  ask > "$OUT/second" 2>> "$OUT/errors"
  grep '^password=' "$OUT/first" > "$OUT/a"; grep '^password=' "$OUT/second" > "$OUT/b"
  cmp -s "$OUT/a" "$OUT/b" || break
  sleep 0.5; i=$((i+1))
done
printf %s "$GITLAB_TOKEN" > "$OUT/env-after"
$KONTEXT credential gitlab > "$OUT/plain"
$KONTEXT credential gitlab --format env > "$OUT/shell"
$KONTEXT credential stripe > "$OUT/foreign" 2> "$OUT/foreign-error"; printf %s $? > "$OUT/foreign-code"
printf 'protocol=https\\nhost=evil.example\\n\\n' | $KONTEXT git-credential get > "$OUT/evil" 2>&1
printf 'protocol=http\\nhost=%s\\n\\n' "$GIT_HOST" | $KONTEXT git-credential get > "$OUT/plain-http" 2>&1
printf %s "\${GL_TOKEN-unset}" > "$OUT/conflict"
`;

describe('a session that outlives its credentials', () => {
  let world: World;
  let host: string;

  beforeAll(async () => {
    world = await startWorld({ backendEnv: { KONTEXT_LOST_SESSION_SECONDS: '5' } });
    const { upstream } = world;
    if (upstream === null) throw new Error('this world has no upstream');
    await upstream.setSettings({ accessTokenTtlSeconds: tokenSeconds });
    host = new URL(upstream.url).host;
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    await addUpstream(world, 'gitlab', ['--setting', `base=${upstream.url}`, '--client-auth', 'basic']);
    await followConnect(world, 'gitlab');
    writeTemplate(world, 'GITLAB_TOKEN={{kontext:gitlab}}\n');
  });
  afterAll(() => world?.close());

  const leases = async (...args: string[]) => {
    const listed = await world.cli(['leases', 'ls', '--json', ...args]);
    expect(listed).toMatchObject({ exitCode: 0 });
    return JSON.parse(listed.stdout) as { id: string; state: string; session: string; endReason: string }[];
  };
  const worksUpstream = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    return (await fetch(world.upstream?.apiUrl ?? '', { headers })).status === 200;
  };

  it('git and `kontext credential` get the renewed token, the environment keeps the old one', async () => {
    const out = mkdtempSync(join(world.home.root, 'out-'));
    const read = (name: string) => readFileSync(join(out, name), 'utf8');
    const password = (name: string) => /^password=(.*)$/m.exec(read(name))?.[1] ?? '';
    const env = {
      ...{ OUT: out, GIT_HOST: host, GL_TOKEN: 'key-of-another-account' },
      ...{ KONTEXT: world.programs.kontext.join(' '), PATH: pathWithAgent(world, agentScript) },
    };

    const run = await world.cli(['start', '--agent', 'claude', '--trust'], { env, timeoutMs: 120_000 });

    expect(run).toMatchObject({ exitCode: 0 });
    expect(read('errors')).toBe('');
    expect(read('first')).toContain('username=oauth2');
    expect(password('first') === read('env-before')).toBe(true);
    expect(read('env-after') === read('env-before')).toBe(true);
    expect(password('second') === read('env-before')).toBe(false);
    expect(read('plain') === `${password('second')}\n`).toBe(true);
    expect(read('shell') === `GITLAB_TOKEN='${password('second')}'\n`).toBe(true);
    expect(await worksUpstream(password('second'))).toBe(true);
    expect(read('foreign')).toBe('');
    expect(read('foreign-error')).toContain('KX_CREDENTIAL_NOT_IN_SESSION');
    expect(read('foreign-code')).toBe('77');
    expect(read('evil')).toBe('');
    expect(read('plain-http')).toBe('');
    expect(read('conflict')).toBe('unset');
    expect(run.stderr).toMatch(/the credential of gitlab cannot be recalled, expires in \d+ s/);
    expect(run.stderr + run.stdout).not.toContain(password('second'));
    const listed = await leases();
    expect(listed.filter(({ state }) => state !== 'ended')).toEqual([]);
    expect(listed.some(({ endReason }) => endReason === 'renewed')).toBe(true);
  }, 180_000);

  it('in enforce a session that was tampered with gets no renewal, and says so at its end', async () => {
    const puppet = await startPuppet(world, ['--mode', 'enforce']);
    const ask = () =>
      world.cli(['credential', 'gitlab'], {
        env: { KONTEXT_SOCKET: puppet.socket, KONTEXT_SESSION_ID: puppet.sessionId },
      });
    const first = await ask();
    expect(first).toMatchObject({ exitCode: 0 });

    // Its agent calls no hook: neither tampering nor more is needed.
    const withheld = await expect
      .poll(async () => (await ask()).stderr, { timeout: 90_000, interval: 2_000 })
      .toContain('KX_RENEWAL_WITHHELD')
      .then(() => ask());

    expect(withheld).toMatchObject({ exitCode: 77, stdout: '' });
    const { stderr } = await puppet.end();
    expect(stderr).toContain('credentials were not renewed');
  }, 180_000);

  it('what git calls for every fetch loads neither Connect nor the policy engine', async () => {
    const coverage = mkdtempSync(join(world.home.root, 'loaded-'));
    const asked = await world.cli(['git-credential', 'get'], {
      ...{ env: { NODE_V8_COVERAGE: coverage }, stdin: 'protocol=https\nhost=github.com\n\n' },
    });
    expect(asked).toMatchObject({ exitCode: 0, stdout: '', stderr: '' });
    const [report = ''] = readdirSync(coverage);
    const { result } = JSON.parse(readFileSync(join(coverage, report), 'utf8')) as {
      result: { url: string }[];
    };
    const files = result.filter(({ url }) => url.startsWith('file:')).map(({ url }) => url.split('/').at(-1));
    expect(files).toEqual(['main.js']);
  });

  it('leases end with a session whose command was killed, once its heartbeats are missed', async () => {
    const puppet = await startPuppet(world);
    expect(await leases('--session', puppet.sessionId)).toMatchObject([{ state: 'active' }]);

    process.kill(puppet.command.pid, 'SIGKILL');
    await puppet.command.exited;

    await expect
      .poll(() => leases('--session', puppet.sessionId), { timeout: 60_000, interval: 500 })
      .toMatchObject([{ state: 'ended', endReason: 'session.lost' }]);
    process.kill(puppet.pid, 'SIGKILL');
  }, 120_000);

  it('what is revoked while it is used is not handed out again', async () => {
    const puppet = await startPuppet(world);
    const env = { KONTEXT_SOCKET: puppet.socket, KONTEXT_SESSION_ID: puppet.sessionId };
    const would = await world.cli(['leases', 'revoke', '--session', puppet.sessionId, '--dry-run']);
    expect(would).toMatchObject({ exitCode: 0 });
    expect(await leases('--session', puppet.sessionId)).toMatchObject([{ state: 'active' }]);

    const revoked = await world.cli(['leases', 'revoke', '--session', puppet.sessionId]);

    expect(revoked).toMatchObject({ exitCode: 0 });
    await expect
      .poll(async () => (await world.cli(['credential', 'gitlab'], { env })).exitCode, {
        ...{ timeout: 90_000, interval: 1_000 },
      })
      .toBe(77);
    await puppet.end();
  }, 180_000);

  it('a session is listed, shown and ended from another terminal', async () => {
    const puppet = await startPuppet(world);
    const listed = await world.cli(['sessions', 'ls', '--json', '--live']);
    expect(JSON.parse(listed.stdout)).toMatchObject([{ id: puppet.sessionId, state: 'live', liveLeases: 1 }]);

    const ended = await world.cli(['sessions', 'end', puppet.sessionId, '--reason', 'lunch']);

    expect(ended).toMatchObject({ exitCode: 0 });
    const shown = await world.cli(['sessions', 'show', puppet.sessionId, '--json']);
    expect(JSON.parse(shown.stdout)).toMatchObject({ state: 'ended', endReason: 'lunch', liveLeases: 0 });
    const { stderr } = await expectEndedElsewhere(puppet);
    expect(stderr).toContain('the session was ended elsewhere');
  }, 120_000);

  it('all of that is on record as it is documented', async () => {
    const { stdout } = await world.cli(['audit', 'search', '--all', '--payloads', '--json']);
    const lines = stdout.split('\n').filter(Boolean);
    const events = lines.map((line) => JSON.parse(line) as TailedEvent);

    const credentials = ['credential.renewed', 'credential.refused', 'credential.revoked'];
    const wanted = [...credentials, 'session.lost'];
    expect(events.map(({ kind }) => kind)).toEqual(expect.arrayContaining(wanted));
    expect(findUndocumented(events)).toEqual([]);
  });
});

/** Lets the agent end after the next heartbeat has told. */
async function expectEndedElsewhere(puppet: Awaited<ReturnType<typeof startPuppet>>) {
  await sleep(3_000);
  return puppet.end();
}
