import type { PlaceholderRef } from '@kontext/env-template';
import { type ErrorCode, isErrorCode, KontextError } from '@kontext/errors';
import type { CredentialJson, ErrorDetailJson, ResolvedPlaceholderJson } from '@kontext/protocol';
import { Secret } from '@kontext/redaction';
import type { Calls } from '../rpc/calls.ts';

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
  calls: Pick<Calls, 'resolveCredentials'>,
  request: ResolveRequest,
): Promise<ResolvedPlaceholders> {
  const { placeholders } = request;
  if (placeholders.length === 0)
    return { credentials: new Map(), failures: [], serverEventHash: new Uint8Array() };
  const answer = await calls.resolveCredentials(
    {
      sessionId: request.sessionId,
      dryRun: request.dryRun ?? false,
      placeholders: placeholders.map(({ provider, resource, scopes, delivery }) => ({
        provider,
        resource,
        scopes: [...scopes],
        delivery: delivery === 'broker' ? 'DELIVERY_BROKER' : 'DELIVERY_INJECT',
      })),
    },
    request.signal ? { signal: request.signal } : {},
  );
  const results = answer.results ?? [];
  if (results.length !== placeholders.length) {
    throw new KontextError('KX_NOT_A_BACKEND', 'the backend answered for other placeholders than asked');
  }
  const serverEventHash = Buffer.from(answer.serverEventHash ?? '', 'base64');
  return { ...sortOutcomes(placeholders, results), serverEventHash };
}

function sortOutcomes(placeholders: readonly PlaceholderRef[], results: readonly ResolvedPlaceholderJson[]) {
  const credentials = new Map<string, ResolvedCredential>();
  const failures: PlaceholderFailure[] = [];
  for (const [index, placeholder] of placeholders.entries()) {
    const { credential, error, errorMessage = '' } = results[index] ?? {};
    // A value for a brokered placeholder would be the silent inject that is promised never to happen.
    if (credential !== undefined && placeholder.delivery === 'inject') {
      credentials.set(placeholder.key, toCredential(credential));
    } else {
      failures.push(toFailure(placeholder, error, errorMessage));
    }
  }
  return { credentials, failures };
}

/** What is left out on the wire has its default: Protobuf's JSON omits empty fields. */
const toCredential = (credential: CredentialJson): ResolvedCredential => ({
  value: new Secret(credential.value ?? ''),
  kind: credential.kind === 'CREDENTIAL_KIND_OAUTH' ? 'oauth' : 'static',
  leaseId: credential.leaseId ?? '',
  connectionId: credential.connectionId ?? '',
  connectionName: credential.connectionName ?? '',
  scopes: credential.scopes ?? [],
  expiresAt: credential.expiresAt === undefined ? null : wholeSeconds(credential.expiresAt),
});

const wholeSeconds = (instant: string): Date => new Date(Math.floor(Date.parse(instant) / 1000) * 1000);

function toFailure(
  placeholder: PlaceholderRef,
  detail: ErrorDetailJson | undefined,
  message: string,
): PlaceholderFailure {
  const fallback: ErrorCode = placeholder.delivery === 'broker' ? 'KX_DELIVERY_UNSUPPORTED' : 'KX_INTERNAL';
  const code = detail?.code !== undefined && isErrorCode(detail.code) ? detail.code : fallback;
  const said = new KontextError(code, message || `${placeholder.provider} could not be resolved`);
  return {
    placeholder,
    code,
    message: said.message,
    hint: detail?.hint || said.hint,
    connectUri: detail?.connectUri || null,
  };
}
