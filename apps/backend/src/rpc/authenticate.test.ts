import { Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof, generateP256Jwk, type P256PrivateJwk } from '@kontext/oauth';
import { AuditService, ErrorDetailSchema, OrganisationService } from '@kontext/protocol';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn, postToken, refresh, type TestLogin } from '../test-login.ts';
import { wire } from '../wiring.ts';

const system = { role: 'system', orgId: null } as const;
const method = 'kontext.v1.OrganisationService/GetCaller';

describe.each(testStores())('authentication of RPCs on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  let login: TestLogin;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, { wire, livenessIntervalMs: 50 });
    login = await logIn(app);
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  interface Sent {
    readonly token?: string | null;
    readonly scheme?: string;
    readonly key?: P256PrivateJwk | null;
    readonly proof?: Partial<Parameters<typeof createDpopProof>[0]>;
    readonly dpop?: string;
  }

  const transport = (sent: Sent) => {
    const add: Interceptor = (next) => async (request) => {
      const { token = login.accessToken, key = login.jwk, scheme = 'DPoP', proof } = sent;
      if (token !== null) request.header.set('authorization', `${scheme} ${token}`);
      const input = { htm: 'POST', htu: request.url, accessToken: token ?? '', nowMs: Date.now(), ...proof };
      if (key !== null) request.header.set('dpop', sent.dpop ?? (await createDpopProof({ key, ...input })));
      return next(request);
    };
    return createConnectTransport({ baseUrl: app.apiUrl, httpVersion: '1.1', interceptors: [add] });
  };
  const getCaller = (sent: Sent = {}) => createClient(OrganisationService, transport(sent)).getCaller({});
  const refused = async (sent: Sent): Promise<{ code: string; why: string; error: ConnectError }> => {
    const error = ConnectError.from(
      await getCaller(sent).then(
        () => 'was let through',
        (reason: unknown) => reason,
      ),
    );
    expect(error.code, error.message).toBe(Code.Unauthenticated);
    return { code: error.findDetails(ErrorDetailSchema)[0]?.code ?? '', why: error.message, error };
  };
  const run = (statement: ReturnType<typeof sql>) =>
    opened.store.transaction(system, (tx) => tx.execute(statement));

  it('lets a bound token with its proof through and knows the caller', async () => {
    expect(await getCaller()).toMatchObject({
      userId: app.owner.userId,
      userName: 'owner',
      orgId: app.owner.orgId,
      orgName: 'default',
      role: 'owner',
    });
  });

  it('hands out a nonce, and with it does not judge a wrong clock', async () => {
    const old = { nowMs: Date.now() - 86_400_000 };
    const { code, error } = await refused({ proof: old });
    expect(code).toBe('KX_DPOP_NONCE_NEEDED');
    const nonce = error.metadata.get('dpop-nonce') ?? '';
    expect(await getCaller({ proof: { ...old, nonce } })).toMatchObject({ userName: 'owner' });
  });

  it.each<[string, Sent, RegExp]>([
    ['no token', { token: null, key: null }, /no DPoP access token/],
    ['the Bearer scheme', { scheme: 'Bearer' }, /no DPoP access token/],
    ['no proof', { key: null }, /no DPoP proof/],
    ['a token that is none', { token: 'abc.def.ghi' }, /not valid/],
    ['a proof of another key', { key: generateP256Jwk() }, /another key/],
    ['a proof for another method', { proof: { htm: 'GET' } }, /another HTTP method/],
    ['a proof for another URL', { proof: { htu: 'http://127.0.0.1/other' } }, /another URL/],
    ['a proof for another token', { proof: { accessToken: 'other' } }, /another access token/],
    ['a proof that is none', { dpop: 'a.b.c' }, /DPoP proof/],
    ['a stale nonce', { proof: { nonce: 'AAAA' } }, /nonce/],
  ])('refuses %s', async (_situation, sent, why) => {
    const answer = await refused(sent);
    expect(answer.why).toMatch(why);
    expect(answer.code).toMatch(/^KX_(UNAUTHENTICATED|DPOP_NONCE_NEEDED)$/);
    expect(answer.error.metadata.get('www-authenticate')).toMatch(/^DPoP /);
    expect(answer.error.metadata.get('dpop-nonce')).not.toBeNull();
  });

  // The audience alone does not say that a person allowed the API: the default resource gives it to every token.
  it('refuses the token of a login that was not asked to reach the API, here and as a subject token', async () => {
    const narrow = await logIn(app, 'openid');
    const answer = await refused({ token: narrow.accessToken, key: narrow.jwk });
    expect(answer.why).toMatch(/lacks the scope kontext/);
    const exchange = {
      ...{ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', audience: 'acme' },
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    };
    const { status, body } = await postToken(
      app,
      { ...exchange, subject_token: narrow.accessToken },
      narrow.jwk,
    );
    expect([status, body.error, body.failure_reason]).toEqual([400, 'invalid_request', undefined]);
  });

  it('refuses a proof that was used before, also in parallel', async () => {
    const htu = `${app.apiUrl}/${method}`;
    const dpop = await createDpopProof({
      key: login.jwk,
      htm: 'POST',
      htu,
      accessToken: login.accessToken,
      nowMs: Date.now(),
    });
    const results = await Promise.allSettled([getCaller({ dpop }), getCaller({ dpop }), getCaller({ dpop })]);
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected', 'rejected']);
  });

  it('refuses an expired token', async () => {
    app.advance(301_000);
    const answer = await refused({ proof: { nowMs: Date.now() + 301_000 } });
    app.advance(-301_000);
    expect(answer.why).toMatch(/expired/);
  });

  it('refuses a token of another backend, though its claims are the same', async () => {
    const { SignJWT, decodeJwt, generateKeyPair } = await import('jose');
    const { privateKey } = await generateKeyPair('ES256');
    const token = await new SignJWT(decodeJwt(login.accessToken))
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
      .sign(privateKey);
    expect((await refused({ token })).why).toMatch(/not valid/);
  });

  it('refuses a disabled user and a removed member at once', async () => {
    const { userId } = app.owner;
    await run(sql`UPDATE users SET disabled_at = now() WHERE id = ${userId}`);
    const disabled = await refused({});
    await run(sql`UPDATE users SET disabled_at = NULL WHERE id = ${userId}`);
    expect(disabled.why).toMatch(/disabled/);
    const { rows } = await run(sql`DELETE FROM memberships WHERE user_id = ${userId} RETURNING org_id`);
    const removed = await refused({});
    await run(
      sql`INSERT INTO memberships (org_id, user_id, role, created_at) VALUES (${rows[0]?.org_id}, ${userId}, 'owner', now())`,
    );
    expect(removed.why).toMatch(/not a member/);
  });

  it('refuses the token of a login that was logged out, at once, and no other', async () => {
    const other = await logIn(app);
    await fetch(`${app.apiUrl}/oauth/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'kontext-cli', token: other.refreshToken }),
    });
    expect((await refused({ token: other.accessToken, key: other.jwk })).why).toMatch(/revoked/);
    expect(await getCaller()).toMatchObject({ userName: 'owner' });
    const { rows } = await run(sql`SELECT kind FROM audit_events WHERE kind = 'login.ended'`);
    expect(rows).toHaveLength(1);
  });

  it('ends a stream when its login is logged out', async () => {
    const other = await logIn(app);
    const client = createClient(AuditService, transport({ token: other.accessToken, key: other.jwk }));
    const stream = client.watchEvents({ sinceSeconds: 3600 })[Symbol.asyncIterator]();
    await stream.next();
    await fetch(`${app.apiUrl}/oauth/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'kontext-cli', token: other.refreshToken }),
    });
    const end = (async () => {
      while (!(await stream.next()).done);
    })();
    await expect(end).rejects.toMatchObject({ code: Code.Unauthenticated });
  });

  it('refuses before it reads the body when no token is there', async () => {
    const answer = await fetch(`${app.apiUrl}/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{ not json',
    });
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ code: 'unauthenticated' });
  });

  it('speaks Connect alone: gRPC is not answered', async () => {
    const answer = await fetch(`${app.apiUrl}/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/grpc-web+proto', authorization: 'DPoP x' },
      body: new Uint8Array(5),
    });
    expect(answer.status).toBe(415);
  });

  it('refuses a message beyond 4 MiB', async () => {
    const client = createClient(AuditService, transport({}));
    const events = [{ seq: 1n, header: 'x'.repeat(4_300_000), chain: new Uint8Array(32) }];
    await expect(client.appendEvents({ streamId: 'str_x', events })).rejects.toMatchObject({
      code: Code.ResourceExhausted,
    });
  });

  it('goes on with the token of a refresh', async () => {
    const { body } = await refresh(app, login.refreshToken, login.jwk);
    expect(await getCaller({ token: String(body.access_token) })).toMatchObject({ userName: 'owner' });
  });
});
