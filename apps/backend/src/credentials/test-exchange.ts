import { randomUUID } from 'node:crypto';
import {
  accessTokenType,
  createDpopProof,
  type P256PrivateJwk,
  tokenExchangeGrantType,
} from '@kontext/oauth';
import { findFreePort } from '@kontext/testkit';
import { decodeJwt } from 'jose';
import type { Caller } from '../caller.ts';
import { openTestRoom, type TestRoom } from '../connections/test-room.ts';
import { testKms } from '../organisations/test-organisation.ts';
import type { TestStore } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn, postToken, type TestLogin } from '../test-login.ts';
import { wire } from '../wiring.ts';

/** What an RPC answered: Connect's JSON. */
export interface RpcAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** Two backends on one database, a person with a session of theirs, and an upstream provider. */
export interface ExchangeWorld {
  readonly room: TestRoom;
  readonly app: TestApp;
  readonly owner: Caller;
  readonly login: TestLogin;
  readonly sessionId: string;
  /** A token exchange with the login's token as subject, unless the parameters say otherwise. */
  exchange(
    params: Readonly<Record<string, string>>,
    options?: { readonly nonce?: string; readonly key?: P256PrivateJwk | null },
  ): ReturnType<typeof postToken>;
  /** A delegation token made from a token, the login's by default. @throws Error when it is refused. */
  delegate(from?: string, params?: Readonly<Record<string, string>>): Promise<string>;
  /** Calls an RPC, such as `CredentialService/ResolveCredentials`, at the first or at the other backend. */
  call(rpc: string, message: object, options?: CallOptions): Promise<RpcAnswer>;
  /** Another session of the owner. */
  openSession(): Promise<string>;
  close(): Promise<void>;
}

/** How an RPC is called. */
export interface CallOptions {
  readonly token?: string;
  readonly at?: 'first' | 'other';
  /** Clock of the client, relative to the real one. */
  readonly clockMs?: number;
  readonly nonce?: string;
}

/** Opens the world on a test store. */
export async function openExchangeWorld(opened: TestStore): Promise<ExchangeWorld> {
  const room = await openTestRoom(opened);
  const app = await startTestApp(opened.store, { wire, kms: testKms, livenessIntervalMs: 100 });
  // Another replica: the same public URL, another port.
  const config = { apiUrl: app.apiUrl, local: true, tls: null, trustedProxies: [] };
  const port = await findFreePort();
  const other = await startTestApp(opened.store, { wire, kms: testKms, owner: app.owner, config, port });
  const bases = { first: app.apiUrl, other: `http://127.0.0.1:${port}` };
  const login = await logIn(app);
  const { sub, org, gid } = decodeJwt(login.accessToken);
  const owner: Caller = {
    ...{ userId: String(sub), userName: 'owner', orgId: String(org), role: 'owner' },
    grantId: String(gid),
  };

  const exchange: ExchangeWorld['exchange'] = (params, { nonce, key = login.jwk } = {}) =>
    postToken(
      app,
      {
        grant_type: tokenExchangeGrantType,
        ...{ subject_token: login.accessToken, subject_token_type: accessTokenType },
        ...params,
      },
      key,
      nonce,
    );
  const call: ExchangeWorld['call'] = async (rpc, message, options = {}) => {
    const { token = login.accessToken, at = 'first', clockMs = 0, nonce } = options;
    const path = `/kontext.v1.${rpc}`;
    const proof = { key: login.jwk, htm: 'POST', htu: `${app.apiUrl}${path}`, accessToken: token, nonce };
    const response = await fetch(`${bases[at]}${path}`, {
      method: 'POST',
      headers: {
        ...{ 'content-type': 'application/json', authorization: `DPoP ${token}` },
        dpop: await createDpopProof({ ...proof, nowMs: Date.now() + clockMs, jti: randomUUID() }),
      },
      body: JSON.stringify(message),
    });
    const { status, headers } = response;
    return { status, headers, body: (await response.json()) as Record<string, unknown> };
  };
  const openSession = () => room.openSession(owner);
  const sessionId = await openSession();
  return {
    ...{ room, app, owner, login, sessionId, exchange, call, openSession },
    delegate: async (from = login.accessToken, params = {}) => {
      const own = from === login.accessToken ? { session_id: sessionId } : {};
      const { body } = await exchange({ resource: app.apiUrl, subject_token: from, ...own, ...params });
      if (typeof body.access_token !== 'string') throw new Error(`not delegated: ${JSON.stringify(body)}`);
      return body.access_token;
    },
    close: async () => {
      await other.close();
      await app.close();
      await room.close();
    },
  };
}
