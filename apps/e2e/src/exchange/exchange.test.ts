/**
 * The exchange against a real OAuth server in a process of its own, whose refresh tokens rotate and work once.
 *
 * What the backend answers at `/oauth/token`, refusals included: `apps/backend/src/http/oauth/token-exchange-grant.test.ts`.
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseKinds, openDatabase, type StoryDatabase } from '../databases.ts';
import { connectUpstream, followConnect } from '../demo/steps.ts';
import { findUndocumented } from '../find-undocumented.ts';
import { type AuditTail, followAudit } from '../follow-audit.ts';
import { writeTemplate } from '../puppet.ts';
import { findInBytes, findInFiles } from '../search.ts';
import { logIn, startWorld, type World } from '../world.ts';

/** Calls the provider's API with the token it was given, and says who it is there. */
const whoAmI = (apiUrl: string) => [
  ...['--', process.execPath, '-e'],
  `fetch('${apiUrl}', { headers: { authorization: 'Bearer ' + process.env.DEMO_TOKEN } })
     .then(async (r) => { console.log(r.status, (await r.json()).sub); process.exit(r.ok ? 0 : 1); })`,
];
const hashOfToken = ['--', process.execPath, '-p'];
const hashScript = "require('node:crypto').createHash('sha256').update(process.env.DEMO_TOKEN).digest('hex')";

describe.each(databaseKinds)('on %s, an exchange %s', (kind, skipped) => {
  if (skipped !== '') return it.skip(skipped);
  let database: StoryDatabase;
  let world: World;
  let tail: AuditTail;
  const outputs: CommandResult[] = [];

  /** `kontext run`, whose words are kept to be searched. */
  async function run(words: readonly string[]): Promise<CommandResult> {
    const result = await world.cli(['run', '--trust', ...words], { timeoutMs: 120_000 });
    outputs.push(result);
    return result;
  }
  const upstream = () => {
    if (world.upstream === null) throw new Error('this world has no upstream');
    return world.upstream;
  };

  beforeAll(async () => {
    database = await openDatabase(kind);
    world = await startWorld({
      recorded: true,
      ...(database.url === undefined ? {} : { databaseUrl: database.url }),
    });
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    await connectUpstream(world, () => undefined);
    writeTemplate(world, 'DEMO_TOKEN={{kontext:demo}}\n');
    tail = followAudit(world);
  });
  afterAll(async () => {
    await tail?.stop();
    await world?.close();
    await database?.close();
  });

  it('gives the child an access token that the provider accepts', async () => {
    const result = await run(whoAmI(upstream().apiUrl));

    expect(result).toMatchObject({ exitCode: 0, stdout: '200 upstream-user\n' });
    expect(result.stderr).toContain('1 credential');
  });

  it('is on record with its lease, which ends with the session', async () => {
    const resolved = await tail.waitFor(({ kind: seen }) => seen === 'credential.resolved');
    const ended = await tail.waitFor(
      (e) => e.kind === 'session.ended' && e.session === resolved.session && e.streamId === resolved.streamId,
    );

    const { leases } = JSON.parse(resolved.header).lineage;
    expect(leases).toHaveLength(1);
    expect(JSON.parse(ended.payload ?? '{}')).toMatchObject({ leasesEnded: 1, leases });
  });

  it('asks the provider once when twenty sessions need a fresh token at the same time', async () => {
    await expireToken(300);
    const before = await upstream().stats();

    const runs = await Promise.all(Array.from({ length: 20 }, () => run([...hashOfToken, hashScript])));

    expect(runs.map(({ exitCode }) => exitCode)).toEqual(runs.map(() => 0));
    const after = await upstream().stats();
    expect(after.refreshes - before.refreshes).toBe(1);
    expect(after.refusedTokenRequests - before.refusedTokenRequests).toBe(0);
    const newest = (await upstream().issuedTokens()).accessTokens.at(-1) ?? '';
    expect([...new Set(runs.map(({ stdout }) => stdout.trim()))]).toEqual([
      createHash('sha256').update(newest).digest('hex'),
    ]);
  });

  it('goes on after the backend was killed in the middle of a refresh', async () => {
    await expireToken(300);
    await upstream().setFault('hang', { count: 1 });
    const before = await upstream().stats();
    const interrupted = run(['--', 'true']);
    const isAsking = async () => (await upstream().stats()).tokenRequests > before.tokenRequests;
    while (!(await isAsking())) await sleep(50);
    await world.backend.stop('SIGKILL');
    await world.restartBackend();

    const result = await run(whoAmI(upstream().apiUrl));

    expect(result).toMatchObject({ exitCode: 0, stdout: '200 upstream-user\n' });
    expect((await upstream().stats()).refreshes - before.refreshes).toBe(1);
    expect((await interrupted).exitCode).not.toBe(0);
  });

  it('lets no refresh token near the command: not its words, not its files, not what went over the wire', async () => {
    const { refreshTokens, accessTokens } = await upstream().issuedTokens();
    const { exchanges = [] } = world.recorder ?? {};
    const sides = readdirSync(world.home.root).filter((name) => name !== 'backend');
    const folders = sides.map((name) => join(world.home.root, name));
    const wire = exchanges.map((e) => ({
      place: e.path,
      bytes: Buffer.concat([e.requestBody, e.responseBody]),
    }));
    const words = outputs.map((o) => ({ place: 'output', bytes: Buffer.from(o.stdout + o.stderr) }));
    const findIn = (values: readonly string[]) => [
      ...[...wire, ...words].flatMap(({ place, bytes }) => findInBytes(place, bytes, values)),
      ...findInFiles(folders, values),
    ];

    expect(refreshTokens.length).toBeGreaterThan(3);
    expect(findIn(refreshTokens)).toEqual([]);
    // The search sees what does go over the wire.
    const places = new Set(findIn(accessTokens).map(({ place }) => place));
    expect([...places]).toEqual(['/kontext.v1.CredentialService/ResolveCredentials']);
  });

  it('says what to do when the user has ended the connection at the provider', async () => {
    await expireToken(300);
    await upstream().revokeAll();

    const result = await run(['--', 'true']);

    expect(result.exitCode).toBe(77);
    expect(result.stderr).toMatch(/KX_CONNECTION_REAUTH_REQUIRED/);
    expect(result.stderr).toMatch(/\/connect\/|kontext connect demo/);
    const failed = await tail.waitFor((event) => event.kind === 'connection.failed');
    expect(findUndocumented([failed])).toEqual([]);
  });

  /** Connects anew and waits until the access token that gave has ended; later ones live as long as told. */
  async function expireToken(nextTtlSeconds: number): Promise<void> {
    await upstream().setSettings({ accessTokenTtlSeconds: 1 });
    await followConnect(world);
    await sleep(1_200);
    await upstream().setSettings({ accessTokenTtlSeconds: nextTtlSeconds });
  }
});
