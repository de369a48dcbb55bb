import type { PlaceholderRef } from '@kontext/env-template';
import { type ErrorCode, isErrorCode, KontextError } from '@kontext/errors';
import {
  type Credential,
  CredentialKind,
  Delivery,
  type ErrorDetail,
  type ResolvedPlaceholder,
} from '@kontext/protocol';
import { Secret } from '@kontext/redaction';
import type { Clients } from '../rpc/clients.ts';

/** A credential for this session. */
export interface ResolvedCredential {
  /** Empty in a dry run. */
  readonly value: Secret;
  /** `oauth` is short-lived; `static` is a long-lived key. */
  readonly kind: 'oauth' | 'static';
  readonly leaseId: string;
  readonly connectionId: string;
  readonly connectionName: string;
  readonly scopes: readonly string[];
  /** Null when it does not expire. */
  readonly expiresAt: Date | null;
}

/** A placeholder without credential, and why. */
export interface PlaceholderFailure {
  readonly placeholder: PlaceholderRef;
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  /** Where a person can connect the provider; null when that would not help. */
  readonly connectUri: string | null;
}

/** The answer to one batch; each placeholder stands in exactly one of the two. */
export interface ResolvedPlaceholders {
  /** Placeholder key → credential. */
  readonly credentials: ReadonlyMap<string, ResolvedCredential>;
  readonly failures: readonly PlaceholderFailure[];
  /** Hash of the newest event on the server stream (32 bytes, or empty when nothing was asked). */
  readonly serverEventHash: Uint8Array;
}

/** What to resolve. */
export interface ResolveRequest {
  /** Empty in a dry run without session. */
  readonly sessionId: string;
  /** Each key once, as `listPlaceholders` gives them. */
  readonly placeholders: readonly PlaceholderRef[];
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Resolves placeholders in one request. One that fails spoils no other.
 *
 * @throws KontextError when the request as a whole failed.
 */
export async function resolvePlaceholders(
  clients: Clients,
  request: ResolveRequest,
): Promise<ResolvedPlaceholders> {
  const { placeholders } = request;
  if (placeholders.length === 0)
    return { credentials: new Map(), failures: [], serverEventHash: new Uint8Array() };
  const answer = await clients.credentials.resolveCredentials(
    {
      sessionId: request.sessionId,
      dryRun: request.dryRun ?? false,
      placeholders: placeholders.map(({ provider, resource, scopes, delivery }) => ({
        provider,
        resource,
        scopes: [...scopes],
        delivery: delivery === 'broker' ? Delivery.BROKER : Delivery.INJECT,
      })),
    },
    request.signal ? { signal: request.signal } : {},
  );
  if (answer.results.length !== placeholders.length) {
    throw new KontextError('KX_NOT_A_BACKEND', 'the backend answered for other placeholders than asked');
  }
  return { ...sortOutcomes(placeholders, answer.results), serverEventHash: answer.serverEventHash };
}

function sortOutcomes(placeholders: readonly PlaceholderRef[], results: readonly ResolvedPlaceholder[]) {
  const credentials = new Map<string, ResolvedCredential>();
  const failures: PlaceholderFailure[] = [];
  for (const [index, placeholder] of placeholders.entries()) {
    const outcome = results[index]?.outcome;
    // A value for a brokered placeholder would be the silent inject that is promised never to happen.
    if (outcome?.case === 'credential' && placeholder.delivery === 'inject') {
      credentials.set(placeholder.key, toCredential(outcome.value));
    } else {
      const detail = outcome?.case === 'error' ? outcome.value : undefined;
      failures.push(toFailure(placeholder, detail, results[index]?.errorMessage ?? ''));
    }
  }
  return { credentials, failures };
}

const toCredential = (credential: Credential): ResolvedCredential => ({
  value: new Secret(credential.value),
  kind: credential.kind === CredentialKind.OAUTH ? 'oauth' : 'static',
  leaseId: credential.leaseId,
  connectionId: credential.connectionId,
  connectionName: credential.connectionName,
  scopes: credential.scopes,
  expiresAt: credential.expiresAt ? new Date(Number(credential.expiresAt.seconds) * 1000) : null,
});

function toFailure(
  placeholder: PlaceholderRef,
  detail: ErrorDetail | undefined,
  message: string,
): PlaceholderFailure {
  const fallback: ErrorCode = placeholder.delivery === 'broker' ? 'KX_DELIVERY_UNSUPPORTED' : 'KX_INTERNAL';
  const code = detail && isErrorCode(detail.code) ? detail.code : fallback;
  const said = new KontextError(code, message || `${placeholder.provider} could not be resolved`);
  return {
    placeholder,
    code,
    message: said.message,
    hint: detail?.hint || said.hint,
    connectUri: detail?.connectUri || null,
  };
}
