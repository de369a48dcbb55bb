import { generateP256Jwk, type P256PrivateJwk } from '@kontext/oauth';
import { createBrowser, type IdentityProvider, startIdentityProvider } from '@kontext/testkit';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { IdentityProviderRow } from '../../store/queries/identity-providers.ts';
import { testStores } from '../../store/test-stores.ts';
import { type OAuthAnswer, pollDevice, refresh, startDevice } from '../../test-login.ts';
import { backchannelUrl, systemScope } from './deps.ts';
import { removeIdentityProvider } from './identity-providers.ts';
import { createRevalidation } from './revalidate.ts';
import { type FederationRoom, startFederationRoom, walkLogin } from './test-room.ts';

const logoutEvent = { 'http://schemas.openid.net/event/backchannel-logout': {} };

describe.each(testStores())('people who leave, on $kind', ({ open }) => {
  let room: FederationRoom;
  let elapsedMs = 0;
  beforeAll(async () => {
    room = await startFederationRoom(open);
  });
  afterEach(() => {
    room.idp.setFault('none');
    room.app.advance(-elapsedMs);
    elapsedMs = 0;
  });
  afterAll(() => room?.close());

  const advance = (seconds: number) => {
    elapsedMs += seconds * 1000;
    room.app.advance(seconds * 1000);
  };

  let people = 0;
  interface Terminal {
    readonly sub: string;
    readonly userId: string;
    /** One refresh, with what the one before gave. */
    renew(): Promise<OAuthAnswer>;
  }

  /** A person with a terminal that is logged in through the provider. */
  async function logInTerminal(
    provider: IdentityProviderRow,
    known?: string,
    idp: IdentityProvider = room.idp,
  ): Promise<Terminal> {
    people += 1;
    const sub = known ?? `leaver-${people}`;
    idp.putAccount({ sub, email: `${sub}@acme.test`, groups: ['devs'] });
    idp.setCurrent(sub);
    const started = await startDevice(room.app);
    const returnTo = `/activate?user_code=${started.user_code}`;
    const browser = createBrowser();
    const codePage = await walkLogin(room.app, provider, { browser, returnTo });
    const approval = await browser.submit(codePage, codePage.forms[0]!);
    await browser.submit(approval, approval.forms[0]!, { decision: 'approve' });
    const key: P256PrivateJwk = generateP256Jwk();
    const { body } = await pollDevice(room.app, started.device_code ?? '', key);
    let token = String(body.refresh_token);
    const { rows } = await room.opened.store.transaction(systemScope, (tx) =>
      tx.execute(sql`SELECT user_id FROM identities WHERE sub = ${sub}`),
    );
    return {
      sub,
      userId: String((rows[0] as { user_id: string }).user_id),
      renew: async () => {
        const answer = await refresh(room.app, token, key);
        token = String(answer.body.refresh_token ?? token);
        return answer;
      },
    };
  }

  test('the provider is asked in the background before its word is old, and who is fine stays logged in', async () => {
    const provider = await room.addProvider({ revalidateSeconds: 3600 });
    const terminal = await logInTerminal(provider);
    const { sweep } = createRevalidation(room.deps);
    const before = room.idp.refreshes();
    await sweep();
    const early = room.idp.refreshes() - before;
    advance(2800);
    await sweep();
    await sweep();
    const due = room.idp.refreshes() - before;
    advance(2800);
    await sweep();
    expect([early, due, room.idp.refreshes() - before]).toEqual([0, 1, 2]);
    expect(await terminal.renew()).toMatchObject({ status: 200 });
  });

  test('a provider that is down does not keep others from being asked', async () => {
    const dead = await startIdentityProvider();
    const down = await room.addProvider({ revalidateSeconds: 3600 }, { idp: dead });
    const up = await room.addProvider({ revalidateSeconds: 3600 });
    await logInTerminal(down, undefined, dead);
    await logInTerminal(up);
    await dead.stop();
    const before = room.idp.refreshes();
    advance(2800);
    await createRevalidation(room.deps, 1).sweep();
    expect(room.idp.refreshes() - before).toBeGreaterThanOrEqual(1);
  });

  test('an account whose secret cannot be opened does not keep others from being asked', async () => {
    const provider = await room.addProvider({ revalidateSeconds: 3600 });
    const broken = await logInTerminal(provider);
    await logInTerminal(provider);
    await room.opened.store.transaction(systemScope, (tx) =>
      tx.execute(
        sql`UPDATE secrets SET ciphertext = '\\x00' WHERE id = (SELECT refresh_secret_id FROM identities WHERE sub = ${broken.sub})`,
      ),
    );
    const before = room.idp.refreshes();
    advance(2800);
    await createRevalidation(room.deps).sweep();
    expect(room.idp.refreshes() - before).toBeGreaterThanOrEqual(1);
  });

  test('groups that change there change here, without a login', async () => {
    const provider = await room.addProvider({ revalidateSeconds: 3600, groupRoles: { chiefs: 'admin' } });
    const { sub, userId } = await logInTerminal(provider);
    room.idp.putAccount({ sub, email: `${sub}@acme.test`, groups: ['chiefs'] });
    advance(2800);
    await createRevalidation(room.deps).sweep();
    const { rows } = await room.opened.store.transaction(systemScope, (tx) =>
      tx.execute(sql`SELECT role, groups FROM memberships WHERE user_id = ${userId}`),
    );
    expect(rows).toEqual([{ role: 'admin', groups: ['chiefs'] }]);
  });

  test('a disabled account loses its logins in the background', async () => {
    const provider = await room.addProvider({ revalidateSeconds: 3600 });
    const { sub, renew } = await logInTerminal(provider);
    room.idp.putAccount({ sub, disabled: true });
    const still = await renew();
    advance(2800);
    await createRevalidation(room.deps).sweep();
    const after = await renew();
    expect(still.status).toBe(200);
    expect(after).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', failure_reason: 'identity_provider_disabled' },
    });
  });

  test('a disabled account gets no token after the time, also when nothing ran in the background', async () => {
    const provider = await room.addProvider({ revalidateSeconds: 3600 });
    const { sub, renew } = await logInTerminal(provider);
    room.idp.putAccount({ sub, disabled: true });
    advance(3301);
    expect(await renew()).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', failure_reason: 'identity_provider_disabled' },
    });
  });

  test('a provider that is down changes nothing until the time is over, and then only for now', async () => {
    const provider = await room.addProvider({ revalidateSeconds: 3600 });
    const { renew } = await logInTerminal(provider);
    room.idp.setFault('500');
    advance(2800);
    await createRevalidation(room.deps).sweep();
    const before = await renew();
    advance(501);
    const late = await renew();
    room.idp.setFault('none');
    advance(40);
    const back = await renew();
    expect(before.status).toBe(200);
    expect(late).toMatchObject({ status: 503, body: { error: 'temporarily_unavailable' } });
    expect(back.status).toBe(200);
  });

  test('without a refresh token of the provider the login has to be repeated at the browser', async () => {
    const provider = await room.addProvider({ revalidateSeconds: 3600 });
    const { sub, renew } = await logInTerminal(provider);
    await room.opened.store.transaction(systemScope, (tx) =>
      tx.execute(sql`UPDATE identities SET refresh_secret_id = NULL WHERE sub = ${sub}`),
    );
    const fine = await renew();
    advance(3301);
    const late = await renew();
    expect(fine.status).toBe(200);
    expect(late).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant', failure_reason: 'identity_provider_login_required' },
    });
  });

  test('twenty terminals of a person ask the provider once', async () => {
    const provider = await room.addProvider({ revalidateSeconds: 3600 });
    const { userId } = await logInTerminal(provider);
    const { check } = createRevalidation(room.deps);
    advance(3301);
    const before = room.idp.refreshes();
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => check(userId)));
    expect(new Set(verdicts)).toEqual(new Set(['valid']));
    expect(room.idp.refreshes() - before).toBe(1);
  });

  test('removing the provider logs everybody out whom it vouched for', async () => {
    const provider = await room.addProvider();
    const { renew } = await logInTerminal(provider);
    const by = { orgId: room.orgId, userId: null };
    expect(await removeIdentityProvider(room.deps, by, provider.name)).toBe(1);
    expect(await renew()).toMatchObject({ body: { failure_reason: 'identity_provider_removed' } });
    await expect(removeIdentityProvider(room.deps, by, provider.name)).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
  });

  describe('back-channel logout', () => {
    const send = (provider: IdentityProviderRow, token: string) =>
      fetch(backchannelUrl(room.app.apiUrl, provider.callbackId), {
        method: 'POST',
        body: new URLSearchParams({ logout_token: token }),
      });
    const claimsFor = (provider: IdentityProviderRow, more: object) => {
      const now = Math.floor(Date.now() / 1000);
      const { issuer: iss, clientId: aud } = provider;
      return {
        iss,
        aud,
        iat: now,
        exp: now + 120,
        jti: `jti-${Math.random()}`,
        events: logoutEvent,
        ...more,
      };
    };
    const sidOf = async (userId: string): Promise<string> => {
      const { rows } = await room.opened.store.transaction(systemScope, (tx) =>
        tx.execute(sql`SELECT upstream_sid FROM logins WHERE user_id = ${userId} AND revoked_at IS NULL`),
      );
      return String((rows[0] as { upstream_sid: string }).upstream_sid);
    };

    test('ends the terminals of the session that the provider itself names', async () => {
      const provider = await room.addProvider();
      const terminal = await logInTerminal(provider);
      const other = await logInTerminal(provider, terminal.sub);
      await room.idp.logOut(provider.clientId, terminal.sub, await sidOf(terminal.userId));
      const answers = [await terminal.renew(), await other.renew()];
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
      expect(answers.find(({ status }) => status === 400)?.body).toMatchObject({
        failure_reason: 'identity_provider_logout',
      });
    });

    test('ends every terminal of a person', async () => {
      const provider = await room.addProvider();
      const terminal = await logInTerminal(provider);
      const other = await logInTerminal(provider, terminal.sub);
      const token = room.idp.signToken(claimsFor(provider, { sub: terminal.sub }), { typ: 'logout+jwt' });
      const answer = await send(provider, token);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expect([(await terminal.renew()).status, (await other.renew()).status]).toEqual([400, 400]);
    });

    test('has nothing to end for somebody it never saw', async () => {
      const provider = await room.addProvider();
      const token = room.idp.signToken(claimsFor(provider, { sub: 'nobody' }));
      expect((await send(provider, token)).status).toBe(200);
    });

    test.each([
      ['for another client', { aud: 'somebody-else' }, {}],
      ['of another issuer', { iss: 'https://evil.test' }, {}],
      ['about something else', { events: { 'https://evil.test/event': {} } }, {}],
      [
        'with an event that is no object',
        { events: { 'http://schemas.openid.net/event/backchannel-logout': 1 } },
        {},
      ],
      ['with a nonce: an ID token', { nonce: 'n' }, {}],
      ['without an id', { jti: undefined }, {}],
      ['that names nobody', { sub: undefined }, {}],
      ['of an hour ago', { iat: 1_000, exp: 1_300 }, {}],
      ['that is unsigned', {}, { alg: 'none' }],
      ['of another type', {}, { typ: 'at+jwt' }],
      ['signed by an unknown key', {}, { kid: 'other' }],
    ])('refuses a token %s', async (_name, change, header) => {
      const provider = await room.addProvider();
      const { sub, renew } = await logInTerminal(provider);
      const token = room.idp.signToken(claimsFor(provider, { sub, ...change }), header);
      const answer = await send(provider, token);
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ error: 'invalid_request' });
      expect((await renew()).status).toBe(200);
    });

    test('refuses a token that comes twice, none at all, and one at an unknown address', async () => {
      const provider = await room.addProvider();
      const { sub } = await logInTerminal(provider);
      const token = room.idp.signToken(claimsFor(provider, { sub }));
      const statuses = [
        (await send(provider, token)).status,
        (await send(provider, token)).status,
        (await send(provider, '')).status,
        (await send({ ...provider, callbackId: 'unknown' }, token)).status,
      ];
      expect(statuses).toEqual([200, 400, 400, 400]);
    });
  });
});
