import type { Caller } from '../caller.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { FreshTokens } from '../connections/fresh-tokens.ts';
import type { MintersByKind } from '../providers/minted/minter.ts';
import type { WantedCredential } from './wanted-credential.ts';

/** Most placeholders in one request. */
export const maxBatch = 10_000;

/** What the exchange needs. */
export interface ExchangeDeps extends ConnectionDeps {
  readonly tokens: FreshTokens;
  readonly minters: MintersByKind;
  /** Keys questions to people about providers, see `approvals.ts`. */
  readonly approvalKey: Buffer;
  /** For tests: called when credentials are there and nothing of it is stored yet. Default: nothing happens. */
  readonly afterFetch?: () => Promise<void>;
}

/**
 * What credentials are exchanged from when it is not the login itself: a delegation token, or a lease that is narrowed. It bounds
 * their scopes and their life, and when it ends they end.
 */
export interface ExchangeSource {
  readonly leaseId: string;
  /** Principal that acts. */
  readonly actor: string;
  /** What it leaves of a provider. */
  readonly scopesLeftOf: (provider: string) => 'all' | 'nothing' | readonly string[];
  /** Null: no end of its own. */
  readonly expiresAtMs: number | null;
  /** Life that is asked for, in seconds; null or left out: as long as may be had. */
  readonly wantedSeconds?: number | null;
}

/** One request for credentials by an authenticated caller. */
export interface ExchangeRequest {
  readonly caller: Pick<Caller, 'userId' | 'orgId' | 'grantId' | 'authAt'>;
  /** Null: the login itself. */
  readonly source?: ExchangeSource | null;
  /** Null: outside of any session; the agent is then `run`, and events go to the organisation's stream. */
  readonly sessionId: string | null;
  /** How they are delivered: into an agent's environment, or as an answer of the token endpoint. */
  readonly channel: 'inject' | 'exchange';
  readonly wanted: readonly WantedCredential[];
  /** Which lease each takes over from, by `keyOf`; left out: none. */
  readonly renews?: ReadonlyMap<string, string>;
  /** Only say what would happen: no lease, no call to a provider, no event, no link. */
  readonly dryRun: boolean;
}
