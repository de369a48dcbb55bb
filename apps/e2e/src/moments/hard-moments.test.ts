/**
 * The five hard moments of a credential in use: it expires in the middle of an operation, it is revoked while in use, a scope is
 * missing, the authorization server is down, the resource server cannot verify a token. One session of the built command each.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { walkPages } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addUpstream, followConnect } from '../demo/steps.ts';
import { findUndocumented } from '../find-undocumented.ts';
import type { TailedEvent } from '../follow-audit.ts';
import { type Puppet, startPuppet, writeTemplate } from '../puppet.ts';
import { logIn, startWorld, type World } from '../world.ts';

/** A lease is 30 s shorter than its token: with this life a session renews every few seconds. */
const shortLifeSeconds = 35;

describe('a hard moment', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    await addUpstream(world);
    writeTemplate(world, 'DEMO_TOKEN={{kontext:demo}}\n');
  });
  afterAll(() => world?.close());

  const upstream = () => {
    if (world.upstream === null) throw new Error('this world has no upstream');
    return world.upstream;
  };
  /** What the agent was started with. */
  const tokenOf = ({ pid }: Puppet): string => {
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return variables.find((one) => one.startsWith('DEMO_TOKEN='))?.slice('DEMO_TOKEN='.length) ?? '';
  };
  const statusWith = async (token: string): Promise<number> => {
    const headers = { authorization: `Bearer ${token}` };
    return (await fetch(upstream().apiUrl, { headers })).status;
  };
  /** As a program inside the session would ask. */
  const ask = ({ socket, sessionId }: Puppet) =>
    world.cli(['credential', 'demo'], { env: { KONTEXT_SOCKET: socket, KONTEXT_SESSION_ID: sessionId } });
  const connectFor = async (ttlSeconds: number): Promise<void> => {
    await upstream().setSettings({ accessTokenTtlSeconds: ttlSeconds });
    await followConnect(world);
  };

  it('1: the token expires in mid-session, and whoever asks gets one that works', async () => {
    await connectFor(shortLifeSeconds);
    const session = await startPuppet(world);
    const first = tokenOf(session);
    expect(await statusWith(first)).toBe(200);

    await expect.poll(() => statusWith(first), { timeout: 60_000, interval: 500 }).toBe(401);
    const asked = await ask(session);

    expect(asked.exitCode).toBe(0);
    expect(asked.stdout.trim()).not.toBe(first);
    expect(await statusWith(asked.stdout.trim())).toBe(200);
    await session.end();
  });

  it('2: revoked while in use, it is dead at the provider and nothing takes its place', async () => {
    await connectFor(shortLifeSeconds);
    const session = await startPuppet(world);
    const token = tokenOf(session);
    const [connection] = JSON.parse((await world.cli(['connections', 'ls', '--json'])).stdout);

    expect((await world.cli(['connections', 'revoke', connection.id])).exitCode).toBe(0);

    expect(await statusWith(token)).toBe(401);
    const refused = async () => (await ask(session)).exitCode !== 0;
    await expect.poll(refused, { timeout: 60_000, interval: 1_000 }).toBe(true);
    expect((await ask(session)).stdout).toBe('');
    expect((await session.end()).exitCode).toBe(0);
    const found = await world.cli(['audit', 'search', 'kind:connection.revoked', '--payloads', '--json']);
    const event: TailedEvent = JSON.parse(found.stdout);
    expect(event).toMatchObject({ kind: 'connection.revoked' });
    expect(findUndocumented([event])).toEqual([]);
  });

  it('3: a missing scope is named, and connecting for it alone mends it', async () => {
    await upstream().setSettings({ accessTokenTtlSeconds: 600 });
    const link = async (scope: string) => {
      const { stdout, stderr } = await world.cli(['connect', 'demo', '--scope', scope]);
      return /https?:\/\/\S+\/connect\/\S+/.exec(stdout + stderr)?.[0] ?? '';
    };
    const person = { fields: { account: world.account, passcode: world.passcode } };
    await walkPages(await link('read'), person);
    writeTemplate(world, 'DEMO_TOKEN={{kontext:demo?scope=write}}\n');

    const missing = await world.cli(['run', '--trust', '--', 'true']);
    expect(missing.exitCode).toBe(77);
    expect(missing.stderr).toContain('KX_SCOPE_EXCEEDED');

    await walkPages(await link('write'), person);
    expect(await world.cli(['run', '--trust', '--', 'true'])).toMatchObject({ exitCode: 0 });
    const [connection] = JSON.parse((await world.cli(['connections', 'ls', '--json'])).stdout);
    expect(connection.scopes).toEqual(expect.arrayContaining(['read', 'write']));
    writeTemplate(world, 'DEMO_TOKEN={{kontext:demo}}\n');
  });

  it('4: the authorization server is down: sessions live on, a new one says so, both recover', async () => {
    await connectFor(600);
    const session = await startPuppet(world);
    await world.backend.stop('SIGKILL');

    expect(await statusWith(tokenOf(session))).toBe(200);
    expect((await ask(session)).stdout.trim()).toBe(tokenOf(session));
    const refused = await world.cli(['run', '--trust', '--', 'true']);
    expect(refused).toMatchObject({ exitCode: 69, stdout: '' });

    await world.restartBackend();
    expect(await world.cli(['run', '--trust', '--', 'true'])).toMatchObject({ exitCode: 0 });
    expect((await session.end()).exitCode).toBe(0);
  });

  it("4: the provider's is down when a token is over: it is called passing trouble, and it passes", async () => {
    await connectFor(33);
    await sleep(3_000);
    await upstream().setFault('500');
    const refused = await world.cli(['run', '--trust', '--', 'true']);
    await upstream().setFault('none');

    expect(refused.exitCode).toBe(75);
    expect(refused.stderr).toContain('KX_PROVIDER_UNREACHABLE');
    await expect
      .poll(async () => (await world.cli(['run', '--trust', '--', 'true'])).exitCode, {
        timeout: 90_000,
        interval: 3_000,
      })
      .toBe(0);
  });

  it('5: a backend that cannot verify the login says so, hands out nothing, and asks for a new login', async () => {
    await world.backend.stop('SIGTERM');
    rmSync(join(world.home.root, 'backend'), { recursive: true });
    rmSync(join(world.home.root, 'backend-keys'), { recursive: true, force: true });
    await world.restartBackend();

    const refused = await world.cli(['run', '--trust', '--', process.execPath, '-p', '1']);

    expect(refused).toMatchObject({ exitCode: 77, stdout: '' });
    expect(refused.stderr).toMatch(/kontext login/);
  });
});
