/** What only one kind of provider has: the schema of `Provider.settings_json` per kind. No secret is among it. */
import { z } from 'zod';
import {
  awsStsSettings,
  githubAppSettings,
  postgresSettings,
  tokenExchangeSettings,
} from './minted/settings.ts';

/** Kinds of providers, as the store spells them. */
export type ProviderKind = 'oauth2' | 'static' | 'github_app' | 'aws_sts' | 'postgres' | 'token_exchange';

const address = z.string().min(1).max(2048);
const word = z.string().regex(/^[\x21-\x7e]{1,256}$/, 'must be 1 to 256 visible characters without blanks');
const text = z.string().regex(/^[\x20-\x7e]{1,1024}$/, 'must be 1 to 1,024 visible characters');
const path = z
  .string()
  .regex(/^[A-Za-z0-9_]+(?:[./][A-Za-z0-9_]+){0,8}$/, 'must be a path of member names, as in `team.id`');

/** Parameters of the authorization request that are ours to set (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 9101). */
const ourParameters: ReadonlySet<string> = new Set(
  'client_id redirect_uri response_type response_mode state scope code_challenge code_challenge_method nonce request request_uri'.split(
    ' ',
  ),
);

const whoAmI = z.strictObject({
  url: address,
  account: path.optional(),
  scopes: path.optional(),
});

const parameterName = z
  .string()
  .regex(/^[a-z][a-z0-9_.-]{0,63}$/, 'must be lower-case letters, digits, `_`, `.` and `-`')
  .refine((name) => !ourParameters.has(name), 'is set by kontext itself');

const oauth2 = z.strictObject({
  /** Where the service itself is, for one that can be self-hosted. */
  base: address.optional(),
  /** Where its API is. */
  api: address.optional(),
  scopeSeparator: z.enum(['space', 'comma']).optional(),
  authorizeParameters: z
    .record(parameterName, text)
    .refine((all) => Object.keys(all).length <= 20, 'must be at most 20')
    .optional(),
  tokenBody: z.enum(['form', 'json']).optional(),
  refreshBeforeSeconds: z.number().int().min(0).max(86_400).optional(),
  /** Whose tokens a Slack app takes: the bot's or the user's. */
  tokenOf: z.enum(['bot', 'user']).optional(),
  whoAmI: whoAmI.optional(),
  assertionAudience: z.enum(['issuer', 'token_endpoint']).optional(),
  /** `kid` of the key of `private_key_jwt`. */
  keyId: word.optional(),
  /** Narrows every token of a GitHub App's user before it is handed out. */
  narrow: z
    .strictObject({
      /** Account or organisation that owns the repositories. */
      target: word,
      repositories: z.array(word).min(1).max(500).optional(),
      permissions: z
        .record(z.string().regex(/^[a-z_]{1,64}$/), z.enum(['read', 'write', 'admin']))
        .optional(),
    })
    .optional(),
});

/** Settings of an OAuth 2.0 provider. */
export type OAuth2Settings = z.infer<typeof oauth2>;

const staticKey = z.strictObject({ whoAmI: whoAmI.optional() });

/** The schema of each kind's settings; what it refuses cannot be stored. */
export const settingsSchemas = {
  oauth2,
  static: staticKey,
  github_app: githubAppSettings,
  aws_sts: awsStsSettings,
  postgres: postgresSettings,
  token_exchange: tokenExchangeSettings,
} as const satisfies Record<ProviderKind, z.ZodType<object>>;
