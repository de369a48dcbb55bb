import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectRouter } from '@connectrpc/connect';
import { Code } from '@connectrpc/connect';
import { type ChainedEvent, createId, type EventHeader, parseHeader } from '@kontext/audit';
import { jwkThumbprint, type P256PrivateJwk, signSnapshot } from '@kontext/oauth';
import { hashPolicies, type PolicyText, starterPolicies } from '@kontext/policy';
import {
  AppendStatus,
  AuditService,
  CredentialKind,
  CredentialService,
  Mode,
  OrganisationService,
  PolicyService,
  SessionService,
  SessionState,
} from '@kontext/protocol';
import { exportJWK, generateKeyPair } from 'jose';
import { wireError } from '../rpc/test-backend.ts';
import { createTestStream } from '../spool/test-spool.ts';

/** Sessions, policy and audit of a test backend, with every hash and signature real. */
export interface TestAuditBackend {
  /** The organisation's mode and policy; may be changed while a session runs, with a higher version. */
  mode: 'observe' | 'enforce';
  version: number;
  policies: readonly PolicyText[];
  /** Signs with a key that was not pinned. */
  foreignKey: boolean;
  /** Heartbeats do not tell which publication holds. */
  quietHeartbeats: boolean;
  /** Streams of WatchPolicy: how many are open, and what ends them. */
  readonly watches: { readonly open: number; cut(): void };
  /** Answers AppendEvents with an error as long as it is set. */
  appendDown: boolean;
  /** Exit codes of ended sessions, in order. */
  readonly ended: number[];
  readonly opened: { readonly hookConfigHash: string; readonly mode: Mode }[];
  /** Headers stored for all sessions, in order. */
  headers(): EventHeader[];
  events(): ChainedEvent[];
  readonly routes: (router: ConnectRouter) => void;
}

/** Value every placeholder resolves to. */
export const testSecret = 'sk_live_51HqLyjWDarjtT1zdp7dc';

/** Makes the services. */
export async function createTestAuditBackend(): Promise<TestAuditBackend> {
  const [pinned, foreign] = [await makeKey(), await makeKey()];
  const org = createId('org');
  const user = createId('usr');
  const streams = new Map<string, ReturnType<typeof createTestStream>>();
  const snapshot = async () => {
    const iat = Math.floor(Date.now() / 1000);
    const { mode, version, policies } = state;
    const publication = { seq: version, stale: 'deny_sensitive' as const };
    const hash = hashPolicies(policies);
    const claims = { org, team: '', mode, version, hash, ...publication, iat, exp: iat + 900 };
    const jws = await signSnapshot(claims, state.foreignKey ? foreign : pinned);
    return { jws, policies: policies.map(({ id, text }) => ({ id, text })) };
  };
  const watches = createWatches(() => state.version);
  const state: TestAuditBackend = {
    mode: 'observe',
    version: 1,
    policies: starterPolicies,
    foreignKey: false,
    quietHeartbeats: false,
    watches,
    appendDown: false,
    ended: [],
    opened: [],
    events: () => [...streams.values()].flatMap(({ events }) => events),
    headers: () => state.events().map(({ header }) => parseHeader(header)),
    routes: (router) => {
      router.rpc(OrganisationService.method.getCaller, () => ({
        userId: user,
        userName: 'dev@example.com',
        orgId: org,
        orgName: 'Example',
        role: 'owner',
        policyKeyThumbprint: jwkThumbprint(pinned),
        serverVersion: '1.2.3',
      }));
      serveSession(router);
      router.service(PolicyService, {
        getPolicySnapshot: async () => ({ snapshot: await snapshot() }),
        watchPolicy: (_request, { signal }) => watches.watch(signal),
      });
      router.service(CredentialService, {
        resolveCredentials: ({ placeholders }) => ({
          results: placeholders.map(({ provider }) => ({
            outcome: {
              case: 'credential' as const,
              value: {
                value: testSecret,
                kind: CredentialKind.STATIC,
                leaseId: createId('lea'),
                connectionName: provider,
              },
            },
          })),
          serverEventHash: new Uint8Array(32).fill(2),
        }),
      });
      router.service(AuditService, { appendEvents: (request) => append(request) });
    },
  };

  const serveSession = (router: ConnectRouter): void => {
    router.service(SessionService, {
      openSession: async ({ agent, mode, hookConfigHash }) => {
        const facts = { apiUrl: '', org, user, agent, session: createId('ses'), stream: createId('str') };
        const nonce = Buffer.alloc(32, streams.size + 1);
        streams.set(facts.stream, createTestStream({ ...facts, nonce: nonce.toString('base64') }));
        state.opened.push({ hookConfigHash, mode });
        const raised = state.mode === 'enforce' || mode === Mode.ENFORCE;
        return {
          session: {
            ...{ id: facts.session, agent, userId: user, userName: 'dev@example.com', orgId: org },
            ...{ mode: raised ? Mode.ENFORCE : Mode.OBSERVE, state: SessionState.LIVE },
            policyVersion: BigInt(state.version),
          },
          ...{ clientStreamId: facts.stream, clientStreamNonce: nonce, serverStreamId: createId('str') },
          ...{ serverEventHash: new Uint8Array(32).fill(1), snapshot: await snapshot(), heartbeatSeconds: 1 },
        };
      },
      heartbeatSession: () => ({
        ...{ state: SessionState.LIVE, policyVersion: BigInt(state.version) },
        policySeq: state.quietHeartbeats ? 0n : BigInt(state.version),
      }),
      endSession: ({ exitCode }) => {
        state.ended.push(exitCode);
        return { leasesEnded: 0 };
      },
    });
  };

  const append = (request: { streamId: string; prev: Uint8Array; events: readonly unknown[] }) => {
    if (state.appendDown) throw wireError('KX_TEMPORARY', 'down', {}, Code.Unavailable);
    const stream = streams.get(request.streamId);
    if (stream === undefined) throw wireError('KX_NOT_FOUND', 'no such stream', {}, Code.NotFound);
    const events = (request.events as readonly WireEvent[]).map(fromWire);
    const { status, headSeq, headHash } = stream.append({ prev: request.prev, events });
    return { status: statuses[status], headSeq: BigInt(headSeq), headHash };
  };
  return state;
}

/** WatchPolicy as the backend does it, but faster: the seq at once, and again when it changes. */
function createWatches(version: () => number) {
  let cut = new AbortController();
  const watches = {
    open: 0,
    cut: (): void => {
      cut.abort();
      cut = new AbortController();
    },
    async *watch(signal: AbortSignal) {
      const ended = AbortSignal.any([signal, cut.signal]);
      watches.open += 1;
      try {
        for (let told = 0; !ended.aborted; await sleep(20)) {
          if (told !== version()) yield { seq: BigInt(version()) };
          told = version();
        }
        if (!signal.aborted) throw wireError('KX_TEMPORARY', 'cut', {}, Code.Unavailable);
      } finally {
        watches.open -= 1;
      }
    },
  };
  return watches;
}

interface WireEvent {
  readonly seq: bigint;
  readonly header: string;
  readonly payload?: string;
  readonly salt: Uint8Array;
  readonly chain: Uint8Array;
}

const statuses = {
  ok: AppendStatus.OK,
  dup: AppendStatus.DUP,
  gap: AppendStatus.GAP,
  fork: AppendStatus.FORK,
} as const;

const fromWire = ({ seq, header, payload, salt, chain }: WireEvent): ChainedEvent => ({
  seq: Number(seq),
  id: parseHeader(header).id,
  header,
  payload: payload ?? null,
  salt: salt.length === 0 ? null : Buffer.from(salt),
  prev: Buffer.alloc(32),
  chain: Buffer.from(chain),
});

async function makeKey(): Promise<P256PrivateJwk> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return (await exportJWK(privateKey)) as P256PrivateJwk;
}
