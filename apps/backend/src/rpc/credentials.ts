import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { KontextError } from '@kontext/errors';
import { defaultRetryAfterSeconds } from '@kontext/oauth';
import {
  CredentialSchema,
  CredentialService,
  Delivery,
  type Placeholder,
  ResolvedPlaceholderSchema,
} from '@kontext/protocol';
import type { CredentialService as Credentials } from '../credentials/credential-service.ts';
import type { IssuedCredential, Outcome, RefusedCredential } from '../credentials/outcome.ts';
import { callerOf } from './authenticate.ts';
import { toErrorDetail } from './connect-error.ts';
import { credentialKinds, recalls, toLease, toRevokeFilter } from './lease-messages.ts';
import type { RpcRoutes } from './router.ts';

/** The edge of credentials: wire in, wire out. A secret leaves only in `Credential.value`. */
export const credentialRoutes =
  (credentials: Credentials): RpcRoutes =>
  (router) =>
    router.service(CredentialService, {
      resolveCredentials: async ({ sessionId, placeholders, dryRun }, context) => {
        const wanted = placeholders.map(toWanted);
        return toResults(await credentials.resolve(callerOf(context), { sessionId, wanted, dryRun }));
      },
      renewCredentials: async ({ sessionId, leaseIds, placeholders }, context) => {
        if (placeholders.length > 0 && placeholders.length !== leaseIds.length) {
          throw new KontextError('KX_REQUEST_INVALID', 'placeholders must be as many as lease_ids, or none');
        }
        const items = leaseIds.map((leaseId, i) => {
          const placeholder = placeholders[i];
          return { leaseId, wanted: placeholder === undefined ? null : toWanted(placeholder) };
        });
        return toResults(await credentials.renew(callerOf(context), { sessionId, items }));
      },
      revokeLeases: async (request, context) => {
        const filter = toRevokeFilter(request);
        const { leases, count } = await credentials.revokeLeases(callerOf(context), filter, request.dryRun);
        return { leases: leases.map(toLease), count };
      },
      attenuateCredential: async ({ sessionId, leaseId, scopes, ttlSeconds }, context) => {
        const input = { sessionId, leaseId, scopes, ttlSeconds };
        const { outcome, serverEventHash } = await credentials.attenuate(callerOf(context), input);
        if (!outcome.ok) throw toKontextError(outcome);
        return {
          credential: toCredential(outcome),
          ...(serverEventHash ? { serverEventHash: new Uint8Array(serverEventHash) } : {}),
        };
      },
      listLeases: async ({ sessionId, pageSize, pageToken, everybody, live, provider }, context) => {
        const page = await credentials.listLeases(callerOf(context), {
          ...{ sessionId, pageSize, cursor: pageToken, everybody, live, provider },
        });
        return { leases: page.leases.map(toLease), nextPageToken: page.next ?? '' };
      },
    });

/** An unknown way of delivery is refused like the one that is not built: never a silent inject. */
const deliveryOf = (delivery: Delivery): 'inject' | 'broker' =>
  delivery === Delivery.INJECT || delivery === Delivery.UNSPECIFIED ? 'inject' : 'broker';

const toWanted = ({ provider, resource, scopes, delivery }: Placeholder) => ({
  ...{ provider, resource, scopes },
  delivery: deliveryOf(delivery),
});

const toResults = ({ outcomes, serverEventHash }: Awaited<ReturnType<Credentials['resolve']>>) => ({
  results: outcomes.map(toResolved),
  ...(serverEventHash ? { serverEventHash: new Uint8Array(serverEventHash) } : {}),
});

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
    expiresIn: issued.expiresInSeconds ?? 0,
    ...(issued.git ? { gitHosts: [...issued.git.hosts], gitUser: issued.git.user } : {}),
    ...(issued.recall ? { recall: recalls[issued.recall] } : {}),
  };
  return create(CredentialSchema, init);
}

const detailsOf = ({ refusal, retryAfterSeconds }: RefusedCredential): Record<string, string | number> => ({
  ...refusal.members,
  ...{ oauth_error: refusal.oauthError, failure_reason: refusal.failureReason ?? '' },
  retry_after_seconds:
    retryAfterSeconds ?? (refusal.oauthError === 'temporarily_unavailable' ? defaultRetryAfterSeconds : 0),
});

const toDetail = (refused: RefusedCredential) =>
  toErrorDetail(refused.refusal.code, refused.hint, detailsOf(refused));

/** A refusal as the error of a call that asked for one thing. */
const toKontextError = (refused: RefusedCredential) =>
  new KontextError(refused.refusal.code, refused.refusal.message, {
    hint: refused.hint,
    details: detailsOf(refused),
  });
