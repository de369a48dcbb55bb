/** What minted providers are set up with (`Provider.settings_json`); docs/minted-credentials.md explains each. No secret is among it. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { isLoopbackUrlHost } from '../public-address.ts';

/** An address we call: https, or http to this machine, which `safe-fetch` allows in local mode alone. */
const endpoint = z
  .string()
  .max(2048)
  .refine((text) => {
    const url = URL.canParse(text) ? new URL(text) : null;
    if (url === null || url.hash !== '' || url.username !== '' || url.password !== '') return false;
    return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackUrlHost(url.hostname));
  }, 'must be an https URL without fragment and user');

/** Name of an entry, which stands after the `/` of placeholders; a further `/` begins a field. */
const entryName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'must be lower-case letters, digits, `.`, `_` and `-`, at most 63');

const entries = <T extends z.ZodType>(entry: T) =>
  z.record(entryName, entry).refine((all) => {
    const count = Object.keys(all).length;
    return count >= 1 && count <= 100;
  }, 'must be 1 to 100 entries');

const seconds = (min: number, max: number) => z.number().int().min(min).max(max);

/** A name of Postgres: anything but NUL, at most 63 bytes; it is quoted wherever it is used. */
const postgresName = z
  .string()
  .min(1)
  .refine(
    (name) => !name.includes('\0') && Buffer.byteLength(name) <= 63,
    'must be at most 63 bytes, without NUL',
  );

const hostName = z
  .string()
  .max(253)
  .refine(
    (host) => isIP(host) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*$/.test(host),
    'must be a host name or an address, without brackets',
  );

/** Databases in which roles are leased. */
export const postgresSettings = z.strictObject({
  databases: entries(
    z.strictObject({
      database: postgresName,
      /** The template: leased roles are its members and have its rights. */
      role: postgresName,
      /** What agents connect to; default: where the administrator connects. */
      host: hostName.optional(),
      port: z.number().int().min(1).max(65_535).optional(),
      /** Connections one leased role may hold; default 10. */
      connectionLimit: z.number().int().min(1).max(1000).optional(),
      maxTtlSeconds: seconds(60, 86_400).optional(),
    }),
  ),
  /** Default `verify-full`; `off` is for loopback in local mode. */
  tls: z.enum(['verify-full', 'off']).optional(),
  /** Certificates (PEM) to trust in place of the system's. */
  ca: z
    .string()
    .max(65_536)
    .refine((pem) => pem.includes('-----BEGIN CERTIFICATE-----'), 'must be PEM certificates')
    .optional(),
});
/** See {@link postgresSettings}. */
export type PostgresSettings = z.infer<typeof postgresSettings>;

/** Levels of a GitHub permission, each including the ones before. */
export const githubLevels = ['read', 'write', 'admin'] as const;

/** Repository sets of one installation of a GitHub App. */
export const githubAppSettings = z.strictObject({
  /** Client id or app id, `iss` of the app's JWT. */
  app: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
  installation: z.number().int().positive(),
  /** Base of the REST API; default https://api.github.com. */
  api: endpoint.optional(),
  sets: entries(
    z.strictObject({
      /** Names without owner; left out: all the installation has. */
      repositories: z
        .array(z.string().regex(/^[A-Za-z0-9._-]{1,100}$/))
        .min(1)
        .max(500)
        .optional(),
      permissions: z
        .record(z.string().regex(/^[a-z_]{1,64}$/), z.enum(githubLevels))
        .refine((all) => Object.keys(all).length > 0, 'must name at least one permission'),
    }),
  ),
});
/** See {@link githubAppSettings}. */
export type GithubAppSettings = z.infer<typeof githubAppSettings>;

const scopeName = z.string().regex(/^[!#-*,-[\]-~]{1,256}$/, 'must be a scope (RFC 6749 §3.3) without `+`');

/** Roles of an AWS account. */
export const awsStsSettings = z.strictObject({
  region: z.string().regex(/^[a-z]{2,3}(-[a-z]+)+-\d{1,2}$/),
  /** Default: the region's own endpoint. */
  endpoint: endpoint.optional(),
  /** With it the provider's secret is the key's secret half; without, AWS trusts our issuer (AssumeRoleWithWebIdentity). */
  accessKeyId: z
    .string()
    .regex(/^[A-Z0-9]{16,128}$/)
    .optional(),
  roles: entries(
    z.strictObject({
      arn: z.string().regex(/^arn:aws[a-z-]*:iam::\d{12}:role\/[\x21-\x7e]{1,512}$/),
      externalId: z
        .string()
        .regex(/^[\w+=,.@:/-]{2,1224}$/)
        .optional(),
      maxTtlSeconds: seconds(900, 43_200).optional(),
      /** Statements of the session policy, by scope. */
      policies: z
        .record(scopeName, z.array(z.record(z.string(), z.unknown())).min(1))
        .refine((all) => Object.keys(all).length > 0, 'must name at least one scope'),
    }),
  ),
});
/** See {@link awsStsSettings}. */
export type AwsStsSettings = z.infer<typeof awsStsSettings>;

/** Targets at another server that exchanges tokens (RFC 8693). */
export const tokenExchangeSettings = z.strictObject({
  tokenEndpoint: endpoint,
  /** RFC 7009; left out: its tokens live until they expire. */
  revocationEndpoint: endpoint.optional(),
  /** Their issuer: audience of the assertion and of `private_key_jwt`. */
  issuer: z.string().min(1).max(2048),
  clientId: z.string().regex(/^[\x20-\x7e]{1,512}$/),
  /** The provider's secret is the client secret, or the private key (PEM). */
  clientAuth: z.enum(['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']),
  /**
   * Whose token is exchanged: `assertion` is a JWT of our own about the user, a name is that of another provider whose access
   * token the user has. Default `assertion`.
   */
  subject: z
    .union([
      z.literal('assertion'),
      z.strictObject({ connection: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/) }),
    ])
    .optional(),
  /** `kid` of the key of `private_key_jwt`. */
  keyId: z
    .string()
    .regex(/^[\x21-\x7e]{1,256}$/)
    .optional(),
  targets: entries(
    z.strictObject({
      audience: z.array(z.string().min(1).max(2048)).max(10).optional(),
      resource: z.array(z.string().min(1).max(2048)).max(10).optional(),
      /** Upper bound; left out: their server judges. */
      scopes: z.array(scopeName).min(1).max(100).optional(),
      requestedTokenType: z
        .string()
        .regex(/^urn:[\x21-\x7e]{1,250}$/)
        .optional(),
    }),
  ),
});
/** See {@link tokenExchangeSettings}. */
export type TokenExchangeSettings = z.infer<typeof tokenExchangeSettings>;
