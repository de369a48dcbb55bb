import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import {
  CredentialKind,
  CredentialSchema,
  CredentialService,
  Delivery,
  ErrorDetailSchema,
  LeaseSchema,
  LeaseState,
  ResolvedPlaceholderSchema,
} from '@kontext/protocol';
import type { CredentialService as Credentials } from '../credentials/credential-service.ts';
import type { IssuedCredential, Outcome, RefusedCredential } from '../credentials/outcome.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

type LeaseRow = Awaited<ReturnType<Credentials['listLeases']>>['leases'][number];

const leaseStates = {
  pending: LeaseState.PENDING,
  active: LeaseState.ACTIVE,
  ended: LeaseState.ENDED,
} as const;
const credentialKinds = { oauth: CredentialKind.OAUTH, static: CredentialKind.STATIC } as const;

/** The edge of credentials: wire in, wire out. A secret leaves only in `Credential.value`. */
export const credentialRoutes =
  (credentials: Credentials): RpcRoutes =>
  (router) =>
    router.service(CredentialService, {
      resolveCredentials: async ({ sessionId, placeholders, dryRun }, context) => {
        const wanted = placeholders.map(({ provider, resource, scopes, delivery }) => ({
          ...{ provider, resource, scopes },
          delivery: deliveryOf(delivery),
        }));
        const result = await credentials.resolve(callerOf(context), { sessionId, wanted, dryRun });
        return {
          results: result.outcomes.map(toResolved),
          ...(result.serverEventHash ? { serverEventHash: new Uint8Array(result.serverEventHash) } : {}),
        };
      },
      listLeases: async ({ sessionId, pageSize, pageToken }, context) => {
        const page = await credentials.listLeases(callerOf(context), {
          sessionId,
          pageSize,
          cursor: pageToken,
        });
        return { leases: page.leases.map(toLease), nextPageToken: page.next ?? '' };
      },
    });

/** An unknown way of delivery is refused like the one that is not built: never a silent inject. */
const deliveryOf = (delivery: Delivery): 'inject' | 'broker' =>
  delivery === Delivery.INJECT || delivery === Delivery.UNSPECIFIED ? 'inject' : 'broker';

const toResolved = (outcome: Outcome) =>
  outcome.ok
    ? create(ResolvedPlaceholderSchema, { outcome: { case: 'credential', value: toCredential(outcome) } })
    : create(ResolvedPlaceholderSchema, {
        outcome: { case: 'error', value: toDetail(outcome) },
        errorMessage: outcome.refusal.message,
      });

function toCredential(issued: IssuedCredential) {
  const { value, kind, leaseId, connectionId, connectionName, scopes, expiresAt } = issued;
  const init: MessageInitShape<typeof CredentialSchema> = {
    ...{ value: value.reveal(), kind: credentialKinds[kind], leaseId, connectionId, connectionName },
    scopes: [...scopes],
    ...(expiresAt ? { expiresAt: timestampFromDate(expiresAt) } : {}),
  };
  return create(CredentialSchema, init);
}

function toDetail({ refusal, hint, retryAfterSeconds }: RefusedCredential) {
  const { code, oauthError, failureReason, members } = refusal;
  return create(ErrorDetailSchema, {
    ...{ code, hint, oauthError, failureReason: failureReason ?? '' },
    connectUri: String(members.connect_uri ?? ''),
    connectExpiresIn: Number(members.connect_expires_in ?? 0),
    retryAfterSeconds: retryAfterSeconds ?? 0,
  });
}

function toLease(row: LeaseRow) {
  const { id, sessionId, connectionId, provider, kind, state, scope, activatedAt, expiresAt, endedAt } = row;
  const init: MessageInitShape<typeof LeaseSchema> = {
    ...{
      id,
      sessionId: sessionId ?? '',
      connectionId: connectionId ?? '',
      provider,
      state: leaseStates[state],
    },
    kind: kind === 'static' ? CredentialKind.STATIC : CredentialKind.OAUTH,
    scopes: scope,
    ...(activatedAt ? { issuedAt: timestampFromDate(activatedAt) } : {}),
    ...(expiresAt ? { expiresAt: timestampFromDate(expiresAt) } : {}),
    ...(endedAt ? { endedAt: timestampFromDate(endedAt) } : {}),
  };
  return create(LeaseSchema, init);
}
