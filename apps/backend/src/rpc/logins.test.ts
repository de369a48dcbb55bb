import type { DescService } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Client, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import { ErrorDetailSchema, LoginService, OrganisationService, SessionService } from '@kontext/protocol';
import { confirmInBrowser } from '@kontext/testkit';
import { createLocalKms } from '@kontext/vault';
import { sql } from 'drizzle-orm';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addMember, createOrg, type NewLocalAccount } from '../login/local-accounts.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn, refresh, type TestLogin } from '../test-login.ts';
import { wire } from '../wiring.ts';

interface Terminal {
  readonly login: TestLogin;
  readonly logins: Client<typeof LoginService>;
  readonly organisation: Client<typeof OrganisationService>;
  readonly sessions: Client<typeof SessionService>;
}

const system = { role: 'system', orgId: null } as const;
const dayMs = 86_400_000;

describe.each(testStores())('logins of terminals on $kind', ({ open }) => {
  const kms = createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test');
  let opened: TestStore;
  let app: TestApp;
  let bob: NewLocalAccount;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire, kms });
    const member = { orgSlug: 'default', name: 'bob', role: 'member', groups: [], withPasscode: true };
    bob = await addMember(opened.store, member, Date.now());
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  async function terminalOf(account: NewLocalAccount): Promise<Terminal> {
    const login = await logIn({ ...app, owner: account });
    const { accessToken, jwk: key } = login;
    const prove: Interceptor = (next) => async (request) => {
      const proof = { key, htm: 'POST', htu: request.url, accessToken, nowMs: Date.now() };
      request.header.set('authorization', `DPoP ${accessToken}`);
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const transport = createConnectTransport({
      ...{ baseUrl: app.apiUrl, httpVersion: '1.1' as const, interceptors: [prove] },
    });
    const make = <T extends DescService>(service: T) => createClient(service, transport);
    return {
      login,
      logins: make(LoginService),
      organisation: make(OrganisationService),
      sessions: make(SessionService),
    };
  }
  const detailOf = async (call: Promise<unknown>) => {
    const error = await call.then(
      () => new Error('was let through'),
      (caught: unknown) => caught,
    );
    const detail = ConnectError.from(error).findDetails(ErrorDetailSchema)[0];
    if (detail === undefined) throw error;
    return detail;
  };
  const refusal = async ({ login }: Terminal) => {
    const { status, body } = await refresh(app, login.refreshToken, login.jwk);
    return status === 200 ? 'none' : String(body.failure_reason ?? body.error);
  };
  const openSession = ({ sessions }: Terminal) =>
    sessions.openSession({ agent: 'claude', agentVersion: '2', hostname: 'laptop', cliVersion: '0.1.0' });
  const run = (statement: ReturnType<typeof sql>) =>
    opened.store.transaction(system, (tx) => tx.execute<Record<string, unknown>>(statement));

  it('device tokens say acr and auth_time, and GetCaller shows the login of the call', async () => {
    const terminal = await terminalOf(app.owner);
    expect(decodeJwt(terminal.login.accessToken)).toMatchObject({ acr: 'urn:kontext:acr:device' });
    expect(decodeJwt(terminal.login.accessToken).auth_time).toBeTypeOf('number');
    const { login, orgSlug } = await terminal.organisation.getCaller({});
    expect(orgSlug).toBe('default');
    expect(login).toMatchObject({
      machine: 'alice-mbp',
      address: '127.0.0.1',
      clientId: 'kontext-cli',
      acr: 'urn:kontext:acr:passcode',
      current: true,
    });
    const at = (stamp: Parameters<typeof timestampMs>[0] | undefined) => (stamp ? timestampMs(stamp) : 0);
    expect(at(login?.idleExpiresAt) - at(login?.lastUsedAt)).toBe(30 * dayMs);
    expect(at(login?.absoluteExpiresAt) - at(login?.createdAt)).toBe(90 * dayMs);
  });

  it('one login of your own ends without a confirmation, with its sessions alone', async () => {
    const [here, there] = [await terminalOf(bob), await terminalOf(bob)];
    await openSession(here);
    const lost = await openSession(there);
    const { login } = await there.organisation.getCaller({});
    const shown = (await here.logins.listLogins({})).logins;
    expect(shown.filter(({ current }) => current)).toHaveLength(1);
    expect(shown.map(({ id }) => id)).toContain(login?.id);

    const ended = await here.logins.revokeLogins({ loginId: login?.id ?? '' });

    expect(ended).toMatchObject({ loginsEnded: 1, sessionsEnded: 1 });
    expect([await refusal(here), await refusal(there)]).toEqual(['none', 'login_revoked']);
    expect((await detailOf(there.organisation.getCaller({}))).code).toBe('KX_UNAUTHENTICATED');
    const { rows } = await run(sql`SELECT state FROM sessions WHERE id = ${lost.session?.id ?? ''}`);
    expect(rows).toEqual([{ state: 'ended' }]);
    expect((await here.logins.listLogins({})).logins.map(({ id }) => id)).not.toContain(login?.id);
    expect((await here.logins.revokeLogins({ loginId: login?.id ?? '' })).loginsEnded).toBe(0);
  });

  it('all of your own end only after a confirmation; then nothing of them works any more', async () => {
    const [here, there] = [await terminalOf(bob), await terminalOf(bob)];
    const needed = await detailOf(here.logins.revokeLogins({}));
    expect(needed.code).toBe('KX_CONFIRMATION_NEEDED');
    expect(await refusal(there)).toBe('none');
    await confirmInBrowser({ url: needed.confirmUri, account: bob.account, passcode: bob.passcode });
    const headers = { 'kontext-confirmation': needed.confirmationId };
    const ended = await here.logins.revokeLogins({}, { headers });
    expect(ended.loginsEnded).toBeGreaterThanOrEqual(2);
    expect([await refusal(here), await refusal(there)]).toEqual(['login_revoked', 'login_revoked']);
    const { rows } = await run(
      sql`SELECT kind FROM audit_events WHERE kind = 'login.ended' AND user_id = ${bob.userId}`,
    );
    expect(rows.length).toBeGreaterThanOrEqual(2);
  });

  it('those of somebody else are shown to guardians alone, and to nobody of another organisation', async () => {
    const [owner, member] = [await terminalOf(app.owner), await terminalOf(bob)];
    const elsewhere = { slug: `other-${opened.store.kind}`, owner: 'mallory', withPasscode: true };
    const stranger = await terminalOf(await createOrg(opened.store, kms, elsewhere, Date.now()));
    expect((await owner.logins.listLogins({ userId: bob.userId })).logins.length).toBeGreaterThan(0);
    expect((await detailOf(member.logins.listLogins({ userId: app.owner.userId }))).code).toBe(
      'KX_FORBIDDEN',
    );
    expect((await detailOf(stranger.logins.listLogins({ userId: bob.userId }))).code).toBe('KX_NOT_FOUND');
    const { login } = await member.organisation.getCaller({});
    expect((await detailOf(stranger.logins.revokeLogins({ loginId: login?.id ?? '' }))).code).toBe(
      'KX_NOT_FOUND',
    );
    expect((await detailOf(owner.logins.revokeLogins({ loginId: login?.id ?? '' }))).code).toBe(
      'KX_NOT_FOUND',
    );
    expect(await refusal(member)).toBe('none');
  });

  it('a terminal that is logged out takes its sessions along', async () => {
    const terminal = await terminalOf(bob);
    const { session } = await openSession(terminal);
    const body = new URLSearchParams({ client_id: 'kontext-cli', token: terminal.login.refreshToken });
    await fetch(`${app.apiUrl}/oauth/token/revocation`, { method: 'POST', body });
    const { rows } = await run(sql`SELECT state FROM sessions WHERE id = ${session?.id ?? ''}`);
    expect(rows).toEqual([{ state: 'ended' }]);
    expect(await refusal(terminal)).toBe('login_revoked');
  });

  it.each([
    ['is suspended', 'account_suspended', sql`UPDATE users SET disabled_at = now() WHERE name = 'bob'`],
    ['is 90 days old', 'login_expired', sql`UPDATE logins SET absolute_expires_at = now() - interval '1 s'`],
    [
      'was idle for 30 days',
      'login_idle',
      sql`UPDATE logins SET last_used_at = now() - interval '30 days 1 s'`,
    ],
    ['ended at the identity provider', 'identity_provider_logout', endWith('upstream_logout')],
    ['is refused by the identity provider', 'identity_provider_disabled', endWith('upstream_disabled')],
    ['lost its identity provider', 'identity_provider_removed', endWith('identity_provider_removed')],
    ['was used by somebody else too', 'login_reused', endWith('reused')],
  ])('a refresh is told why: the account or login %s', async (_what, reason, statement) => {
    const terminal = await terminalOf(bob);
    expect(await refusal(terminal)).toBe('none');
    await run(statement);
    expect(await refusal(terminal)).toBe(reason);
    await run(sql`UPDATE users SET disabled_at = NULL`);
  });
});

function endWith(reason: string) {
  return sql`UPDATE logins SET revoked_at = now(), end_reason = ${reason} WHERE revoked_at IS NULL`;
}
