import { type FaultMode, startUpstream, type Upstream } from '@kontext/testkit';
import { createAppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import { createCredentialService } from '../credentials/credential-service.ts';
import {
  createTestOrganisation,
  type TestOrganisation,
  testKms,
} from '../organisations/test-organisation.ts';
import { createPolicyService } from '../policies/policy-service.ts';
import { createMintersByKind } from '../providers/minted/minters-by-kind.ts';
import { createSafeFetch } from '../providers/safe-fetch.ts';
import { createSessionService } from '../sessions/session-service.ts';
import { openPostgresStore } from '../store/postgres-store.ts';
import type { Store } from '../store/store.ts';
import type { TestStore } from '../store/test-stores.ts';
import { type ConnectionService, createConnectionService } from './connection-service.ts';
import type { ConnectionDeps } from './deps.ts';

/** One backend process, as far as connections and credentials go. */
export interface TestReplica {
  readonly connections: ConnectionService;
  readonly credentials: ReturnType<typeof createCredentialService>;
}

/** Everything a test of connections and credentials needs, on one store. */
export interface TestRoom extends TestReplica {
  readonly store: Store;
  readonly deps: ConnectionDeps;
  readonly upstream: Upstream;
  readonly sessions: ReturnType<typeof createSessionService>;
  /** Moves the clock; it starts at the real time. */
  advance(ms: number): void;
  nowMs(): number;
  /** Another process on the same database; without arguments like the first. */
  replica(change?: Partial<ConnectionDeps>): TestReplica;
  /** A fresh organisation. */
  organisation(): Promise<TestOrganisation>;
  /** Adds the upstream as a provider. */
  addUpstream(owner: Caller, name?: string): Promise<void>;
  /** Adds the upstream when needed and connects the caller to it, walking the flow as a browser would. */
  connect(caller: Caller, options?: { provider?: string; name?: string }): Promise<string>;
  openSession(caller: Caller): Promise<string>;
  fault(mode: FaultMode, count?: number): Promise<void>;
  close(): Promise<void>;
}

const apiUrl = 'http://127.0.0.1:4180';

/** Opens the room on a test store; the upstream is the real stand-in, a process of its own. */
export async function openTestRoom(opened: TestStore): Promise<TestRoom> {
  const upstream = await startUpstream({ accessTokenTtlSeconds: 600 });
  const refreshStore = opened.url === null ? opened.store : await openPostgresStore(opened.url, 4);
  let offsetMs = 0;
  const nowMs = () => Date.now() + offsetMs;
  const deps: ConnectionDeps = {
    ...{ store: opened.store, refreshStore, kms: testKms, nowMs, apiUrl, local: true },
    ...{ fetch: createSafeFetch({ allowLoopback: true }), appended: createAppendSignal() },
  };
  const replica = (change: Partial<ConnectionDeps> = {}): TestReplica => {
    const own = { ...deps, ...change };
    const connections = createConnectionService(own);
    // The token endpoint is tested over the wire; here nothing verifies a subject token.
    const subject = { issuer: `${apiUrl}/oauth`, keys: { publicJwks: { keys: [] }, signing: [] } };
    const signAssertion = () => Promise.reject(new Error('not part of this test'));
    const minters = createMintersByKind({ ...own, issuer: subject.issuer, signAssertion });
    const callers = { load: async () => null, recordProof: async () => true, isTokenLive: async () => true };
    const credentials = createCredentialService({
      ...own,
      ...subject,
      callers,
      tokens: connections.tokens,
      minters,
      approvalKey: Buffer.alloc(32, 9),
      onLeasesEnded: () => undefined,
    });
    return { connections, credentials };
  };
  const first = replica();
  const { store } = opened;
  const policies = createPolicyService({ store, kms: testKms, nowMs });
  const sessions = createSessionService({ store, policies, appended: deps.appended, nowMs });
  const redirects: string[] = [];
  const addUpstream = async (owner: Caller, name = 'acme') => {
    const { authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, clientSecret } = upstream;
    const row = await first.connections.addProvider(owner, {
      ...{ name, kind: 'oauth2', authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId },
      ...{ clientSecret, clientAuth: 'client_secret_basic', scopes: ['openid', 'read', 'write'] },
    });
    redirects.push(first.connections.callbackUrl(row));
    await upstream.setRedirectUris(redirects);
  };
  return {
    ...{ ...first, store, deps, upstream, sessions, nowMs, replica, addUpstream },
    advance: (ms) => {
      offsetMs += ms;
    },
    organisation: () => createTestOrganisation(store, new Date(nowMs())),
    connect: async (caller, { provider = 'acme', name = '' } = {}) => {
      const link = await first.connections.begin(caller, { provider, name, scopes: [] });
      const opener = { ...caller, browserId: `browser-of-${caller.userId}` };
      const ticket = link.connectUri.split('/').at(-1) ?? '';
      const callback = new URL(await approve(await first.connections.flow.open(opener, ticket)));
      await first.connections.flow.finish(
        opener,
        callback.pathname.split('/').at(-1) ?? '',
        readCallback(callback),
      );
      return link.connectionId;
    },
    openSession: async (caller) => {
      const input = { agent: 'claude', agentVersion: '2.0', hostname: 'laptop', cliVersion: '0.1.0' };
      const made = await sessions.open(caller, { ...input, mode: null, hookConfigHash: '' });
      return made.session.id;
    },
    fault: (mode, count) => upstream.setFault(mode, count === undefined ? {} : { count }),
    close: async () => {
      await upstream.stop();
      if (refreshStore !== opened.store) await refreshStore.close();
    },
  };
}

/** The parameters of a callback. */
export const readCallback = (url: URL) => ({
  state: url.searchParams.get('state'),
  code: url.searchParams.get('code'),
  error: url.searchParams.get('error'),
});

/** Follows the upstream, which approves by itself, up to the redirect back to us. */
export async function approve(authorizationUrl: string): Promise<string> {
  const cookies = new Map<string, string>();
  let url = authorizationUrl;
  for (let hop = 0; hop < 10 && !url.startsWith(`${apiUrl}/`); hop += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    if (location === null)
      throw new Error(`the upstream answered ${response.status}: ${await response.text()}`);
    url = new URL(location, url).href;
  }
  return url;
}
