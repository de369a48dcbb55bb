import type { Secret } from '@kontext/redaction';
import type { SafeFetch } from '../safe-fetch.ts';

/** A provider as its organisation described it; a stored row fits. */
export interface MintedProvider {
  readonly id: string;
  readonly orgId: string;
  readonly name: string;
  readonly kind: string;
  /** JSON text, checked against the kind's schema when it was stored. */
  readonly settings: string;
}

/** What of a minted provider a placeholder means, found in the provider's settings. */
export interface MintTarget {
  /** Name within the settings: a repository set, a role, a database. */
  readonly base: string;
  /** Which of the values; empty: the default one. */
  readonly field: string;
  /** Scopes that may be asked for; null: any, the provider judges. */
  readonly scopes: readonly string[] | null;
  /** Bounds of what the provider can do; a lease shorter than `min` cannot be had. */
  readonly ttlSeconds: { readonly min: number; readonly max: number };
}

/** What a credential is minted for. */
export interface MintRequest {
  readonly provider: MintedProvider;
  /** The provider's one secret (private key, admin connection, client secret); null when it has none. */
  readonly providerSecret: Secret | null;
  /** Stored with the lease before minting begins: what is found under this name is ours. */
  readonly plannedName: string;
  readonly target: MintTarget;
  /** Empty: everything the target allows. */
  readonly scopes: readonly string[];
  /** Wanted life; within `target.ttlSeconds`. */
  readonly ttlSeconds: number;
  readonly orgId: string;
  readonly userId: string;
  /** Name of the registered agent. */
  readonly agent: string;
  /** Null: outside of any session. */
  readonly sessionId: string | null;
  /**
   * Access token of the user's own connection to another provider.
   *
   * @throws KontextError `KX_CONNECTION_MISSING`, `KX_CONNECTION_REAUTH_REQUIRED`, `KX_PROVIDER_UNREACHABLE`.
   */
  readonly userToken: (providerName: string) => Promise<Secret>;
}

/** What was minted. */
export interface Minted {
  /** By field; `''` is the default one. */
  readonly values: ReadonlyMap<string, Secret>;
  /** When it stops working; null: the provider did not say. */
  readonly expiresAt: Date | null;
  /** As really given. */
  readonly scopes: readonly string[];
  /** Sealed with the lease when revoking needs it; null when the planned name is enough. */
  readonly keep: Secret | null;
}

/** What is to be taken back. */
export interface RevokeRequest {
  readonly provider: MintedProvider;
  readonly providerSecret: Secret | null;
  readonly plannedName: string | null;
  /** What `Minted.keep` was; null when there was none, or a crash came before it was stored. */
  readonly kept: Secret | null;
  /** What the placeholder named after the `/`. */
  readonly resource: string;
  readonly leaseId: string;
}

/** `gone`: there was nothing (any more). `impossible`: the provider has no way to do it, the credential lives until it expires. */
export type RevokeOutcome = 'revoked' | 'gone' | 'impossible';

/** Makes and takes back credentials of one kind of provider. */
export interface Minter {
  /**
   * Finds what a placeholder means; pure.
   *
   * @param resource What stands after the `/`, field included; may be empty.
   * @throws KontextError `KX_RESOURCE_UNKNOWN` when the settings know no such name.
   */
  target(provider: MintedProvider, resource: string): MintTarget;
  /** Name of the role or token to be made for a lease, stored before minting; pure. */
  plan(leaseId: string): string;
  /**
   * Makes the credential. Must end within 30 s: a lease that is still pending after a minute counts as abandoned.
   *
   * @throws KontextError `KX_PROVIDER_UNREACHABLE` when it may work later, `KX_MINT_REFUSED` when the provider refuses.
   */
  mint(request: MintRequest): Promise<Minted>;
  /**
   * Takes it back; may be called again and again, also for what was never made.
   *
   * @throws KontextError `KX_PROVIDER_UNREACHABLE`: to be tried again.
   */
  revoke(request: RevokeRequest): Promise<RevokeOutcome>;
}

/** The minter of each minted kind; other kinds have none. */
export type MintersByKind = Readonly<Partial<Record<string, Minter>>>;

/** What minters need from outside. */
export interface MinterDeps {
  readonly fetch: SafeFetch;
  readonly nowMs: () => number;
  /** Local mode: loopback may be called, also without TLS. */
  readonly local: boolean;
  /** Hosts that may have a private address, as `createSafeFetch` takes them. Default none. */
  readonly allowedHosts?: readonly string[];
  /** Our issuer, `iss` of the assertions we sign. */
  readonly issuer: string;
  /**
   * Signs a JWT with the authorization server's active key (ES256).
   *
   * @param claims Everything but `iss`, which is added.
   */
  readonly signAssertion: (claims: Readonly<Record<string, unknown>>) => Promise<string>;
}
