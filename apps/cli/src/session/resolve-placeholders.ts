import type { PlaceholderRef } from '@kontext/env-template';
import { type ErrorCode, isErrorCode, KontextError } from '@kontext/errors';
import type {
  CredentialJson,
  ErrorDetailJson,
  PlaceholderJson,
  ResolvedPlaceholderJson,
} from '@kontext/protocol';
import { Secret } from '@kontext/redaction';
import type { Calls } from '../rpc/calls.ts';

/** A credential for this session. */
export interface ResolvedCredential {
  /** Empty in a dry run. */
  readonly value: Secret;
  /** `static` is a long-lived key; the others are short-lived. */
  readonly kind: 'oauth' | 'static' | 'minted' | 'token';
  readonly leaseId: string;
  readonly connectionId: string;
  readonly connectionName: string;
  readonly scopes: readonly string[];
  /** Null when it does not expire. */
  readonly expiresAt: Date | null;
  /** Seconds it lived when it was handed out; null when it does not expire. */
  readonly expiresInSeconds: number | null;
  /** Where it opens git repositories; null: nowhere. */
  readonly git: { readonly hosts: readonly string[]; readonly user: string } | null;
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
      placeholders: placeholders.map(toWirePlaceholder),
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

/** A placeholder as the wire has it. */
export const toWirePlaceholder = ({
  provider,
  resource,
  scopes,
  delivery,
}: PlaceholderRef): PlaceholderJson => ({
  ...{ provider, resource, scopes: [...scopes] },
  delivery: delivery === 'broker' ? 'DELIVERY_BROKER' : 'DELIVERY_INJECT',
});

/** What became of one placeholder. */
export type PlaceholderOutcome =
  | { readonly ok: true; readonly credential: ResolvedCredential }
  | { readonly ok: false; readonly failure: PlaceholderFailure };

/** Reads the answer for one placeholder. */
export function readOutcome(
  placeholder: PlaceholderRef,
  { credential, error, errorMessage = '' }: ResolvedPlaceholderJson,
): PlaceholderOutcome {
  // A value for a brokered placeholder would be the silent inject that is promised never to happen.
  return credential !== undefined && placeholder.delivery === 'inject'
    ? { ok: true, credential: toCredential(credential) }
    : { ok: false, failure: toFailure(placeholder, error, errorMessage) };
}

function sortOutcomes(placeholders: readonly PlaceholderRef[], results: readonly ResolvedPlaceholderJson[]) {
  const credentials = new Map<string, ResolvedCredential>();
  const failures: PlaceholderFailure[] = [];
  for (const [index, placeholder] of placeholders.entries()) {
    const outcome = readOutcome(placeholder, results[index] ?? {});
    if (outcome.ok) credentials.set(placeholder.key, outcome.credential);
    else failures.push(outcome.failure);
  }
  return { credentials, failures };
}

const kindNames: Readonly<Partial<Record<string, ResolvedCredential['kind']>>> = {
  CREDENTIAL_KIND_OAUTH: 'oauth',
  CREDENTIAL_KIND_MINTED: 'minted',
  CREDENTIAL_KIND_TOKEN: 'token',
};

/** Reads a credential. What is left out on the wire has its default: Protobuf's JSON omits empty fields. */
export const toCredential = (credential: CredentialJson): ResolvedCredential => ({
  value: new Secret(credential.value ?? ''),
  kind: kindNames[credential.kind ?? ''] ?? 'static',
  leaseId: credential.leaseId ?? '',
  connectionId: credential.connectionId ?? '',
  connectionName: credential.connectionName ?? '',
  scopes: credential.scopes ?? [],
  expiresAt: credential.expiresAt === undefined ? null : wholeSeconds(credential.expiresAt),
  expiresInSeconds: readLife(credential),
  git: credential.gitHosts?.length ? { hosts: credential.gitHosts, user: credential.gitUser ?? '' } : null,
});

/** An older backend names the instant alone. */
function readLife({ expiresIn = 0, expiresAt }: CredentialJson): number | null {
  if (expiresIn > 0) return expiresIn;
  return expiresAt === undefined ? null : Math.max(0, (Date.parse(expiresAt) - Date.now()) / 1000);
}

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
