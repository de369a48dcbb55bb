import type { OAuth2Quirks } from '../quirks.ts';
import type { ProviderKind } from '../settings.ts';

/** How far an entry has been tried. Nothing here was ever run against the live service. */
export type TestLabel =
  | 'protocol-tested against a stand-in'
  | 'stored and handed out as it is; its test address was never tried';

/** A service kontext knows by name: what a provider made from it starts with. */
export interface CatalogueEntry {
  /** Also the provider's name when none is given. */
  readonly id: string;
  /** As people call it. */
  readonly title: string;
  readonly kind: ProviderKind;
  /** May hold `{base}` and `{api}`; all empty for a kind without them. */
  readonly authorizationEndpoint: string;
  readonly tokenEndpoint: string;
  readonly revocationEndpoint: string;
  /** Values of `{base}`, `{api}` when the settings give none; an empty one must be given. */
  readonly places: Readonly<Record<string, string>>;
  readonly clientAuth: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none';
  /** Asked for unless others are given. */
  readonly scopes: readonly string[];
  /** Names of environment variables that programs read its credential from; the first one is suggested. */
  readonly variables: readonly string[];
  /** What stands in an env template. */
  readonly placeholder: string;
  /** Settings to start from; a template to fill in for the kinds that need some. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly quirks: OAuth2Quirks;
  /** How long its access tokens live, in words. */
  readonly tokenLife: string;
  /** What revoking a connection does there, in words. */
  readonly revoking: string;
  readonly label: TestLabel;
}
