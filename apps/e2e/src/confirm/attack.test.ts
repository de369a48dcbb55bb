/**
 * What an agent with the developer's environment, keyring and command cannot do: change providers, secrets, members, agents,
 * identity providers, or end what others use. Every way it could try is refused, and nothing in the store changes.
 */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { confirmInBrowser, type Keyring, partState, startKeyring } from '@kontext/testkit';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, type StoryDatabase, sql } from '../databases.ts';
import { followAudit } from '../follow-audit.ts';
import { writeTemplate } from '../puppet.ts';
import { runConfirmed } from '../run-confirmed.ts';
import { logIn, startWorld, type World } from '../world.ts';
import type { Loot, Plan } from './thief.ts';

const skipped = partState('keyring').reason || partState('postgres').reason;

/** What must be as it was. */
const guarded = ['providers', 'connections', 'secrets', 'memberships', 'agents', 'agent_providers'].concat([
  'identity_providers',
  'invitations',
  'users',
  'logins',
]);

describe.skipIf(skipped !== '')(`an agent with the developer's keyring ${skipped}`, () => {
  let keyring: Keyring;
  let database: StoryDatabase;
  let world: World;
  let loot: Loot;
  let before: string[];
  let after: string[];
  let plan: Plan;

  beforeAll(async () => {
    keyring = await startKeyring();
    database = await openDatabase('Postgres');
    world = await startWorld({ upstream: false, cliEnv: keyring.env, databaseUrl: database.url ?? '' });
    expect((await logIn(world)).exitCode).toBe(0);
    expect((await runConfirmed(world, ['secrets', 'put', 'stripe'], { stdin: 'sk_1' })).exitCode).toBe(0);
    writeTemplate(world, 'STRIPE_KEY={{kontext:stripe}}\n');
    const thief = await bundleThief();
    plan = await makePlan();
    const path = join(world.home.root, 'plan.json');
    writeFileSync(path, JSON.stringify(plan));
    before = await guardedRows();
    const run = await world.cli(['run', '--trust', '--', process.execPath, thief, path], {
      timeoutMs: 280_000,
    });
    after = await guardedRows();
    expect(run.exitCode, run.stderr).toBe(0);
    loot = JSON.parse(run.stdout);
  }, 400_000);
  afterAll(async () => {
    await world?.close();
    await database?.close();
    await keyring?.stop();
  });

  async function bundleThief(): Promise<string> {
    const outfile = join(world.home.root, 'thief.mjs');
    const entry = fileURLToPath(new URL('thief.ts', import.meta.url));
    await build({
      entryPoints: [entry],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
    });
    return outfile;
  }

  async function makePlan(): Promise<Plan> {
    const [owner] = await query('SELECT id FROM users');
    const calls: Plan['calls'] = [
      ['ProviderService/AddProvider', { provider: { name: 'evil', kind: 'PROVIDER_KIND_STATIC' } }],
      ['ProviderService/RemoveProvider', { name: 'stripe', force: true }],
      ['ProviderService/AttachProvider', { provider: 'stripe', agent: 'run' }],
      ['ProviderService/DetachProvider', { provider: 'stripe', agent: 'run' }],
      ['ConnectionService/PutSecret', { provider: 'stripe', value: 'planted-value' }],
      ['AgentService/PutAgent', { name: 'run', maxTtlSeconds: 43_200 }],
      ['AgentService/DisableAgent', { name: 'claude' }],
      ['OrganisationService/SetMember', { userId: owner, role: 'member' }],
      ['OrganisationService/SuspendMember', { userId: owner }],
      ['OrganisationService/InviteMember', { email: 'mallory@example.com', role: 'owner' }],
      [
        'IdentityProviderService/AddIdentityProvider',
        { identityProvider: { name: 'evil', issuer: 'https://evil.example' } },
      ],
      ['IdentityProviderService/RemoveIdentityProvider', { name: 'corp' }],
      ['LoginService/RevokeLogins', {}],
      ['CredentialService/RevokeLeases', { everything: true }],
    ];
    const commands = [
      'providers add evil --static',
      'providers rm stripe --force',
      'providers attach stripe run',
    ]
      .concat(['providers detach stripe run', 'secrets put stripe', 'secrets put evil --shared'])
      .concat(['agents put run --max-ttl 12h', 'agents disable claude'])
      .concat(['members role owner member', 'members suspend owner']);
    return {
      ...{ apiUrl: world.apiUrl, kontext: world.programs.kontext, keyringLibrary: keyringLibrary() },
      ...{
        calls,
        commands: commands.map((line) => line.split(' ')),
        stolenIds: await confirmationsOfDeveloper(),
      },
    };
  }

  /** The developer confirms two things: one is done, the other waits while the agent runs. */
  async function confirmationsOfDeveloper(): Promise<string[]> {
    const waiting = await world.cli(['secrets', 'put', 'later'], { stdin: 'x' });
    expect(waiting.exitCode).toBe(77);
    const url = /https?:\/\/\S+\/confirm\/[\w-]{43}/.exec(waiting.stderr)?.[0] ?? '';
    await confirmInBrowser({ url, account: world.account, passcode: world.passcode });
    return query("SELECT id FROM confirmations WHERE state IN ('used', 'confirmed') ORDER BY state");
  }

  const query = (statement: string) => sql(database.url ?? '', statement);
  async function guardedRows(): Promise<string[]> {
    // When something was last used is no change of authority.
    const rowsOf = (table: string) =>
      query(`SELECT '${table}', (to_jsonb(t) - 'last_used_at')::text FROM ${table} t ORDER BY 2`);
    return (await Promise.all(guarded.map(rowsOf))).flat();
  }

  it('runs inside a session, and its stolen login does work', () => {
    expect(loot.sessionId).toMatch(/^ses_/);
    expect(loot.states.length).toBe(plan.calls.length);
  });

  it('is refused every command inside the session, before anything is asked', () => {
    const inside = loot.commands.filter(({ inSession }) => inSession);
    expect(inside).toHaveLength(plan.commands.length);
    for (const { args, exitCode, stderr } of inside) {
      expect(exitCode, args).toBe(77);
      expect(stderr, args).toContain('KX_SESSION_REFUSED');
    }
  });

  it('is refused every command also when it hides the session: a person would have to confirm', () => {
    for (const { args, exitCode, stderr } of loot.commands.filter(({ inSession }) => !inSession)) {
      expect(exitCode, `${args}: ${stderr}`).toBe(77);
      expect(stderr, args).toContain('KX_CONFIRMATION_NEEDED');
    }
  });

  it('is refused every call with the token of the stolen login', () => {
    const bare = loot.calls.filter((tried) => tried.with === 'nothing');
    expect(bare.map(({ name, code }) => [name, code])).toEqual(
      plan.calls.map(([name]) => [name, 'KX_CONFIRMATION_NEEDED']),
    );
  });

  it('can use no confirmation: neither a used one, nor one of another request, nor its own that nobody confirmed', () => {
    const tried = loot.calls.filter((call) => call.with !== 'nothing');
    expect(plan.stolenIds).toHaveLength(2);
    expect(tried).toHaveLength(plan.calls.length * 3);
    expect(tried.filter(({ code }) => code !== 'KX_CONFIRMATION_INVALID')).toEqual([]);
  });

  it('cannot confirm by itself: every way to the page ends at the login, or is refused', () => {
    expect(loot.pages).toHaveLength(9);
    for (const { trick, status, path } of loot.pages) {
      expect([path === '/login' && status === 200, status === 403], trick).toContain(true);
    }
    expect(loot.states.filter((state) => state !== 'CONFIRMATION_STATE_PENDING')).toEqual([]);
  });

  it('cannot decide about its own tool call, neither by page, call nor command', async () => {
    const { id, pages, calls, commands, state } = loot.approval;
    expect(pages).toHaveLength(8);
    for (const { trick, status, path } of pages) {
      expect([path === '/login' && status === 200, status === 403], trick).toContain(true);
    }
    expect(calls.filter((code) => code === 'let through')).toEqual([]);
    expect(commands.map(({ exitCode }) => exitCode)).toEqual([77, 77, 77, 77]);
    const said = commands.map(({ stderr }) => /KX_SESSION_REFUSED|KX_APPROVAL_OPEN/.exec(stderr)?.[0]);
    expect(new Set(said)).toEqual(new Set(['KX_SESSION_REFUSED', 'KX_APPROVAL_OPEN']));
    expect(state).toBe('APPROVAL_STATE_PENDING');
    expect(await query(`SELECT count(*) FROM approvals WHERE id = '${id}' AND decided_at IS NULL`)).toEqual([
      '1',
    ]);
  });

  it('changed nothing', async () => {
    expect(after).toEqual(before);
    expect(await query("SELECT count(*) FROM confirmations WHERE state = 'confirmed'")).toEqual(['1']);
  });

  it('is on record with every attempt', async () => {
    const tail = followAudit(world);
    const facts = (payload: string | null) => JSON.parse(payload ?? '{}');
    const last = await tail.waitFor(
      ({ kind, payload }) => kind === 'approval.decided' && facts(payload).decision === 'refused',
    );
    await tail.waitFor(({ kind }) => kind === 'session.ended');
    const admin = tail.events.filter(({ streamId }) => streamId === last.streamId);
    const asked = admin.filter(({ kind }) => kind === 'approval.requested');
    const actions = new Set(asked.map(({ payload }) => facts(payload).action));
    expect([...actions].sort()).toEqual(plan.calls.map(([name]) => name).sort());
    expect(admin.filter(({ payload }) => facts(payload).decision === 'refused').length).toBeGreaterThan(10);
    await tail.stop();
  });
});

/** The library the command itself reads the keyring with. */
function keyringLibrary(): string {
  const fromCli = createRequire(new URL('../../../cli/package.json', import.meta.url));
  return fromCli.resolve('@napi-rs/keyring');
}
