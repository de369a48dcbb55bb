import { type ErrorCode, errorTable, KontextError } from '@kontext/errors';
import {
  type ExchangeRefusal,
  type FailureReason,
  type ProviderFact,
  refuseDisconnected,
  refuseUpstreamDown,
} from '@kontext/oauth';
import type { Secret } from '@kontext/redaction';
import type { GitHosting } from './git-hosting.ts';
import type { Recall } from './recall.ts';

/** A credential that was handed out. */
export interface IssuedCredential {
  readonly ok: true;
  readonly value: Secret;
  readonly kind: 'oauth' | 'static' | 'minted' | 'token';
  /** Empty in a dry run. */
  readonly leaseId: string;
  readonly connectionId: string;
  readonly connectionName: string;
  /** What the credential can do; a generic provider cannot narrow it to what was asked for. */
  readonly scopes: readonly string[];
  /** When to stop using it; null for a static key. */
  readonly expiresAt: Date | null;
  readonly expiresInSeconds: number | null;
  /** What can be done about it before its time; set once it is stored. */
  readonly recall?: Recall;
  /** Where it opens git repositories; set once it is stored. */
  readonly git?: GitHosting | null;
}

/** Why there is none. `members` may hold `connect_uri` and `connect_expires_in`. */
export interface RefusedCredential {
  readonly ok: false;
  readonly refusal: ExchangeRefusal;
  /** What to do next. */
  readonly hint: string;
  /** Null when waiting does not help, or the provider did not say. */
  readonly retryAfterSeconds: number | null;
}

/** What became of one wanted credential. */
export type Outcome = IssuedCredential | RefusedCredential;

/** A refusal with the table's hint, or a better one. */
export const refusedWith = (
  refusal: ExchangeRefusal,
  hint: string = errorTable[refusal.code].hint,
  retryAfterSeconds: number | null = null,
): RefusedCredential => ({ ok: false, refusal, hint, retryAfterSeconds });

/** A refusal that `decideExchange` does not know. */
export const makeRefusal = (
  code: ErrorCode,
  oauthError: ExchangeRefusal['oauthError'],
  failureReason: FailureReason | null,
  message: string,
  members: ExchangeRefusal['members'] = {},
): ExchangeRefusal => ({ ok: false, code, oauthError, failureReason, message, members });

/** The refusal that stands for an error met while a credential was fetched. Foreign errors stay unnamed. */
export function refusedBy(error: unknown, provider: ProviderFact): RefusedCredential {
  const known = error instanceof KontextError ? error : new KontextError('KX_INTERNAL', 'unexpected failure');
  switch (known.code) {
    case 'KX_CONNECTION_REAUTH_REQUIRED':
      return refusedWith(refuseDisconnected(provider, 'reauth_required'));
    case 'KX_CONNECTION_MISSING':
      return refusedWith(refuseDisconnected(provider));
    case 'KX_PROVIDER_UNREACHABLE': {
      const seconds = Number(known.details.retry_after_seconds ?? 0);
      return refusedWith(refuseUpstreamDown(provider), known.hint, seconds > 0 ? seconds : null);
    }
    case 'KX_MINT_REFUSED':
      // Waiting does not help; what was refused is said in our words.
      return refusedWith(makeRefusal(known.code, 'invalid_target', null, known.message), known.hint);
    case 'KX_SCOPE_EXCEEDED':
      // What the provider's settings or the provider itself do not give.
      return refusedWith(makeRefusal(known.code, 'invalid_scope', null, known.message), known.hint);
    default:
      return refusedWith(
        makeRefusal(
          known.code,
          'temporarily_unavailable',
          'transient_exchange_error',
          `the credential of ${provider.name} cannot be made now`,
        ),
      );
  }
}
