/** A provider as an administrator describes it, and as it can be stored. */
import type { Discovered } from '../providers/discover.ts';
import type { ProviderKind } from '../providers/settings.ts';
import type { ProviderRow } from '../store/queries/providers.ts';

/** Which agent may have credentials of a provider, and up to which scopes (none: no bound of its own). */
export interface AttachInput {
  readonly agent: string;
  readonly scopes: readonly string[];
}

/** A provider as an administrator describes it. */
export interface ProviderInput {
  /** Empty with a catalogue entry: its id. */
  readonly name: string;
  /** Null with a catalogue entry: its kind. */
  readonly kind: ProviderRow['kind'] | null;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  /** Null: the entry's, else what the issuer supports. */
  readonly clientAuth: ProviderRow['clientAuth'] | null;
  readonly clientSecret: string;
  /** Empty or absent: of the organisation's own. */
  readonly catalogueId?: string;
  /** Endpoints that are not given are read from its metadata. */
  readonly issuer?: string;
  /** A JSON object, see `providers/settings.ts`; empty or absent: none. */
  readonly settingsJson?: string;
  /** 0 or absent: no bound. */
  readonly maxLoginAgeSeconds?: number;
  readonly needsApproval?: boolean;
  /** 0 or absent: the agent's bound alone. */
  readonly leaseTtlSeconds?: number;
  /** Absent or empty: nobody; in local mode the built-in agents. */
  readonly agents?: readonly AttachInput[];
}

/** A provider that can be stored; the client secret is apart, to be sealed. */
export interface ParsedProvider {
  readonly name: string;
  readonly kind: ProviderKind;
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string;
  readonly clientId: string;
  readonly clientAuth: ProviderRow['clientAuth'];
  readonly scopes: readonly string[];
  readonly clientSecret: string;
  readonly catalogueId: string;
  readonly issuer: string;
  /** JSON text. */
  readonly settings: string;
  readonly maxLoginAgeSeconds: number | null;
  readonly approval: ProviderRow['approval'];
  readonly leaseTtlSeconds: number;
}

/** How strict to be, and how to read an issuer's metadata. */
export interface ParseOptions {
  /** Allows endpoints by plain http on loopback. */
  readonly local: boolean;
  readonly discover: (issuer: string) => Promise<Discovered>;
}
