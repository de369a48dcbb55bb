import type { Caller } from '../caller.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { FreshTokens } from '../connections/fresh-tokens.ts';
import type { WantedCredential } from './wanted-credential.ts';

/** Most placeholders in one request. */
export const maxBatch = 10_000;

/** What the exchange needs. */
export interface ExchangeDeps extends ConnectionDeps {
  readonly tokens: FreshTokens;
}

/** One request for credentials by an authenticated caller. */
export interface ExchangeRequest {
  readonly caller: Pick<Caller, 'userId' | 'orgId'>;
  /** Null: outside of any session; the agent is then `run`, and events go to the organisation's stream. */
  readonly sessionId: string | null;
  /** How they are delivered: into an agent's environment, or as an answer of the token endpoint. */
  readonly channel: 'inject' | 'exchange';
  readonly wanted: readonly WantedCredential[];
  /** Only say what would happen: no lease, no call to a provider, no event, no link. */
  readonly dryRun: boolean;
}
