import type { Kms } from '@kontext/vault';
import type { AppendSignal } from '../../audit/append-signal.ts';
import type { Logger } from '../../log.ts';
import type { Store } from '../../store/store.ts';
import type { RateLimiter } from '../rate-limiter.ts';
import type { RelyingParty } from './relying-party.ts';

/** What federation is made from. */
export interface FederationDeps {
  readonly apiUrl: string;
  /** Local mode: an identity provider may live on loopback, by plain http. */
  readonly local: boolean;
  readonly store: Store;
  readonly kms: Kms;
  readonly logger: Logger;
  readonly limiter: RateLimiter;
  readonly relyingParty: RelyingParty;
  /** Told after a commit that wrote to the admin stream. */
  readonly appended: Pick<AppendSignal, 'notify'>;
  /** 32 bytes, the same on every replica; PKCE verifiers come from it. */
  readonly verifierKey: Uint8Array;
  readonly nowMs: () => number;
}

/** Role of everything that happens before an organisation is known. */
export const systemScope = { role: 'system', orgId: null } as const;

/** The one callback URL of an identity provider: fixed, and with a part nobody can guess. */
export const loginCallbackUrl = (apiUrl: string, callbackId: string): string =>
  `${apiUrl}/login/callback/${callbackId}`;

/** Where it sends logout tokens (OIDC Back-Channel Logout 1.0 §2.5). */
export const backchannelUrl = (apiUrl: string, callbackId: string): string =>
  `${apiUrl}/login/backchannel/${callbackId}`;
