/**
 * Where OAuth 2.0 providers differ, as data: nothing in the client asks for a provider's name.
 *
 * Addresses may hold `{base}`, `{api}` and `{client_id}`, see `expandAddress`. Members of an answer are named by a path of
 * member names with dots between them, and slashes join several of them to one text: `team.id/authed_user.id`.
 */

/** How a provider is asked whose credential it is and what it may do. */
export interface WhoAmI {
  readonly method: 'GET' | 'POST';
  /** Absolute address, see the top of this file. */
  readonly url: string;
  /** Header the credential goes into and what stands before it; default `authorization: Bearer `. */
  readonly header?: { readonly name: string; readonly prefix: string };
  /** More headers, in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Body of a POST, JSON. */
  readonly body?: string;
  /** Path of the account; empty: the answer does not name it. */
  readonly account: string;
  /** Path of the scopes, a list or a text with blanks or commas; empty: the answer does not have them. */
  readonly scopes: string;
  /** Header of the answer that lists the scopes; empty: none does. */
  readonly scopesHeader: string;
  /** Member of the answer that must be true; errors of such a provider come with status 200. Empty: the status decides. */
  readonly okMember: string;
}

/** How tokens are revoked at the provider. */
export type RevocationStyle =
  /** RFC 7009: the refresh token where there is one, else the access token. Needs a revocation endpoint. */
  | 'rfc7009'
  /** The same, for the access token alone: the endpoint knows no other. */
  | 'access-token'
  /** `DELETE …/applications/{client_id}/token` with the client's basic authentication and the access token in JSON. */
  | 'delete-token'
  /** The token revokes itself: POST with it as bearer token, `ok` in the answer. */
  | 'bearer-post'
  | 'none';

/** What a refresh does, as far as somebody who holds tokens notices. */
export type RefreshStyle =
  /** The refresh token stays. */
  | 'stable'
  /** Each refresh gives a new refresh token. */
  | 'rotates'
  /** As `rotates`, and the access token before it stops working at once. */
  | 'ends-old-token';

/** Where a provider departs from RFC 6749, RFC 7009 and RFC 7636. */
export interface OAuth2Quirks {
  readonly scopeSeparator: ' ' | ',';
  /** Parameter of the authorization request that carries the scopes; default `scope`. */
  readonly scopeParameter: string;
  /** Added to the authorization request. */
  readonly authorizeParameters: Readonly<Record<string, string>>;
  /** How the token request is encoded. */
  readonly tokenBody: 'form' | 'json';
  /** Added to the headers of token and revocation requests, in lower case. */
  readonly tokenHeaders: Readonly<Record<string, string>>;
  /** Member of the token answer that holds the tokens of the user, when it is there; empty: they stand on top. */
  readonly tokenMember: string;
  /** `token_type` values, in lower case, that are used as bearer tokens besides `bearer` itself. */
  readonly bearerTypes: readonly string[];
  /** Path of the account in the token answer; empty: that of the ID token. */
  readonly accountMember: string;
  /** Seconds before the end at which a token is refreshed; null: a tenth of its life, within bounds. */
  readonly refreshBeforeSeconds: number | null;
  readonly refresh: RefreshStyle;
  /** Error names after which a refresh token never works again, besides `invalid_grant`. */
  readonly terminalErrors: readonly string[];
  readonly revocation: RevocationStyle;
  /** Address of `delete-token`. */
  readonly revocationUrl: string;
  readonly whoAmI: WhoAmI | null;
  /** Address that makes a narrower token of an access token (GitHub's scoped access token); empty: there is none. */
  readonly narrowUrl: string;
  /** Audience of a `private_key_jwt` assertion (RFC 7523 §3); one string. */
  readonly assertionAudience: 'issuer' | 'token_endpoint';
  /** `kid` of that assertion; empty: none. */
  readonly assertionKeyId: string;
}

/** A provider that keeps to the standards. */
export const standardQuirks: OAuth2Quirks = {
  scopeSeparator: ' ',
  scopeParameter: 'scope',
  authorizeParameters: {},
  tokenBody: 'form',
  tokenHeaders: {},
  tokenMember: '',
  bearerTypes: [],
  accountMember: '',
  refreshBeforeSeconds: null,
  refresh: 'rotates',
  terminalErrors: [],
  revocation: 'rfc7009',
  revocationUrl: '',
  whoAmI: null,
  narrowUrl: '',
  assertionAudience: 'token_endpoint',
  assertionKeyId: '',
};

/**
 * Puts the places of a provider into an address.
 *
 * @param places Values of `{base}`, `{api}`, …; a trailing slash of an address is dropped.
 * @returns The address; a name that has no value stays as it is.
 */
export const expandAddress = (address: string, places: Readonly<Record<string, string>>): string =>
  address.replace(/\{([a-z_]+)\}/g, (whole, name: string) =>
    Object.hasOwn(places, name) ? (places[name] ?? '').replace(/\/+$/, '') : whole,
  );
