import { KontextError } from '@kontext/errors';
import type { Kms } from '@kontext/vault';
import { z } from 'zod';
import { openRow, type SecretContext, sealAsRow } from '../kms/sealed-secrets.ts';
import { createOAuth2Client, type IssuedTokens, type OAuth2Client } from '../providers/oauth2.ts';
import { quirksOf } from '../providers/quirks-of.ts';
import type { ConnectionRow, OpenableConnection } from '../store/queries/connections.ts';
import type { SecretRow } from '../store/queries/secrets.ts';
import type { ConnectionDeps } from './deps.ts';

/** Purposes under which secrets of this room are sealed. */
const purposes = { connection: 'connection', clientSecret: 'client-secret' } as const;

/** The tokens of a connection; stored as JSON, sealed, version 1. */
export interface TokenSet {
  readonly accessToken: string;
  /** Null: the provider gave none. */
  readonly refreshToken: string | null;
  readonly receivedAtMs: number;
  /** Null: the provider did not say, which is unknown and not infinite. */
  readonly expiresAtMs: number | null;
}

const stored = z.strictObject({
  v: z.literal(1),
  accessToken: z.string(),
  refreshToken: z.string().nullable(),
  receivedAtMs: z.number(),
  expiresAtMs: z.number().nullable(),
});

/** Whose next secret it is. */
export interface NextSecret {
  readonly orgId: string;
  readonly connectionId: string;
  /** The version the connection has now. */
  readonly fromVersion: number;
}

/** Seals tokens as the next version of a connection's secret. `previous` lends its refresh token when none came. */
export async function sealTokens(
  kms: Kms,
  next: NextSecret,
  issued: IssuedTokens,
  previous: TokenSet | null,
  now: Date,
): Promise<{ readonly tokens: TokenSet; readonly row: SecretRow }> {
  const { accessToken, receivedAtMs, expiresAtMs } = issued;
  const refreshToken = issued.refreshToken ?? previous?.refreshToken ?? null;
  const tokens = { accessToken, refreshToken, receivedAtMs, expiresAtMs };
  const row = await sealConnection(kms, next, Buffer.from(JSON.stringify({ v: 1, ...tokens }), 'utf8'), now);
  return { tokens, row };
}

/** Seals a connection's next secret. The plaintext is zeroed. */
export async function sealConnection(
  kms: Kms,
  { orgId, connectionId, fromVersion }: NextSecret,
  plaintext: Buffer,
  now: Date,
): Promise<SecretRow> {
  const context = contextOf({ id: connectionId, orgId, version: fromVersion + 1 });
  try {
    return await sealAsRow(kms, context, plaintext, now);
  } finally {
    plaintext.fill(0);
  }
}

/** What of a connection is bound into the seal of its secret. */
export type SealedConnection = Pick<ConnectionRow, 'id' | 'orgId' | 'version'>;

const contextOf = ({ id: subjectId, orgId, version }: SealedConnection) => ({
  ...{ purpose: purposes.connection, orgId, subjectId, version },
});

/**
 * Opens the tokens of a connection.
 *
 * @throws KontextError `KX_VAULT_OPEN` when they do not open for this connection, or are of another format.
 */
export async function openTokens(kms: Kms, connection: SealedConnection, row: SecretRow): Promise<TokenSet> {
  const plaintext = await openRow(kms, contextOf(connection), row);
  try {
    const { v: _, ...tokens } = stored.parse(JSON.parse(plaintext.toString('utf8')));
    return tokens;
  } catch {
    // The cause would quote the tokens.
    throw new KontextError('KX_VAULT_OPEN', 'a stored token set cannot be read');
  } finally {
    plaintext.fill(0);
  }
}

/**
 * Opens the static key of a connection.
 *
 * @throws KontextError `KX_VAULT_OPEN` when it does not open for this connection.
 */
export const openKey = (kms: Kms, connection: SealedConnection, row: SecretRow): Promise<string> =>
  openText(kms, contextOf(connection), row);

async function openText(kms: Kms, context: SecretContext, row: SecretRow): Promise<string> {
  const plaintext = await openRow(kms, context, row);
  try {
    return plaintext.toString('utf8');
  } finally {
    plaintext.fill(0);
  }
}

/** What the client secret of a provider is bound to; it is never replaced. */
export const clientSecretContext = ({
  id: subjectId,
  orgId,
}: {
  readonly id: string;
  readonly orgId: string;
}) => ({
  ...{ purpose: purposes.clientSecret, orgId, subjectId, version: 1 },
});

/**
 * Opens the one secret of a provider.
 *
 * @throws KontextError `KX_VAULT_OPEN` when it does not open for this provider.
 */
export const openClientSecret = (
  kms: Kms,
  provider: Parameters<typeof clientSecretContext>[0],
  row: SecretRow,
): Promise<string> => openText(kms, clientSecretContext(provider), row);

/** The client of a connection's provider, with its secret opened. */
export async function openClient(
  { kms, fetch, nowMs }: Pick<ConnectionDeps, 'kms' | 'fetch' | 'nowMs'>,
  { provider, clientSecret }: Pick<OpenableConnection, 'provider' | 'clientSecret'>,
): Promise<OAuth2Client> {
  const { name, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, clientAuth } = provider;
  const secret =
    clientSecret === null ? '' : await openText(kms, clientSecretContext(provider), clientSecret);
  return createOAuth2Client(
    {
      ...{ name, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, clientAuth },
      ...{ clientSecret: secret, issuer: provider.issuer, quirks: quirksOf(provider) },
    },
    { fetch, nowMs },
  );
}
