/** Leases as the wire shows them. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { KontextError } from '@kontext/errors';
import {
  CredentialKind,
  LeaseSchema,
  LeaseState,
  Recall,
  Revocation,
  type RevokeLeasesRequest,
} from '@kontext/protocol';
import type { CredentialService as Credentials } from '../credentials/credential-service.ts';
import { recallOf } from '../credentials/recall.ts';

type ListedLease = Awaited<ReturnType<Credentials['listLeases']>>['leases'][number];

const states = {
  pending: LeaseState.PENDING,
  active: LeaseState.ACTIVE,
  ended: LeaseState.ENDED,
} as const;

/** What a credential is, on the wire. */
export const credentialKinds = {
  oauth: CredentialKind.OAUTH,
  static: CredentialKind.STATIC,
  minted: CredentialKind.MINTED,
  token: CredentialKind.TOKEN,
} as const;

/** What can be done about a credential, on the wire. */
export const recalls = {
  upstream: Recall.REVOKED_UPSTREAM,
  expires: Recall.EXPIRES,
  never: Recall.NEVER,
} as const;

const revocations = {
  none: Revocation.NONE,
  pending: Revocation.PENDING,
  done: Revocation.DONE,
  failed: Revocation.FAILED,
  impossible: Revocation.IMPOSSIBLE,
} as const;

/** A lease; nothing of it is secret. */
export function toLease({ lease, userName, agent, provider }: ListedLease) {
  const { id, sessionId, connectionId, userId, resource, renewsLeaseId, parentLeaseId, endReason } = lease;
  const init: MessageInitShape<typeof LeaseSchema> = {
    ...{ id, userId, userName, resource, provider: lease.provider, scopes: lease.scope },
    ...{ sessionId: sessionId ?? '', connectionId: connectionId ?? '', agent: agent ?? '' },
    ...{ renewsLeaseId: renewsLeaseId ?? '', parentLeaseId: parentLeaseId ?? '', endReason: endReason ?? '' },
    state: states[lease.state],
    kind: credentialKinds[lease.kind],
    revocation: revocations[lease.revocation],
    recall: recalls[recallOf(lease, provider)],
    ...instant('issuedAt', lease.activatedAt),
    ...instant('expiresAt', lease.expiresAt),
    ...instant('endedAt', lease.endedAt),
    ...instant('upstreamExpiresAt', lease.upstreamExpiresAt),
  };
  return create(LeaseSchema, init);
}

const instant = (name: string, at: Date | null) => (at === null ? {} : { [name]: timestampFromDate(at) });

/**
 * The filter of a revocation as the work knows it.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when there is none: nothing is never everything.
 */
export function toRevokeFilter({ filter }: RevokeLeasesRequest): Parameters<Credentials['revokeLeases']>[1] {
  switch (filter.case) {
    case 'leaseId':
      return { leaseId: filter.value };
    case 'sessionId':
      return { sessionId: filter.value };
    case 'connectionId':
      return { connectionId: filter.value };
    case 'userId':
      return { userId: filter.value };
    case 'agent':
      return { agent: filter.value };
    case 'provider':
      return { provider: filter.value };
    case 'everything':
      if (filter.value) return { everything: true };
  }
  throw new KontextError('KX_REQUEST_INVALID', 'say which leases: exactly one filter');
}
