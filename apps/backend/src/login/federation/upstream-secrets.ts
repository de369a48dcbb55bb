import { createHash } from 'node:crypto';
import { Secret } from '@kontext/redaction';
import type { Kms } from '@kontext/vault';
import { openRow, type SecretContext, sealAsRow } from '../../kms/sealed-secrets.ts';
import type { IdentityRow } from '../../store/queries/identities.ts';
import type { LoginProvider } from '../../store/queries/identity-providers.ts';
import type { SecretRow } from '../../store/queries/secrets.ts';
import type { UpstreamClient } from './upstream-client.ts';

/** Context of our client secret at an identity provider. It is never replaced, only removed with the provider. */
export const clientSecretContext = (orgId: string, identityProviderId: string): SecretContext => ({
  purpose: 'identity-provider-secret',
  orgId,
  subjectId: identityProviderId,
  version: 1,
});

type IdentityKey = Pick<IdentityRow, 'iss' | 'sub' | 'orgId'>;

const refreshContext = ({ iss, sub, orgId }: IdentityKey, version: number): SecretContext => ({
  purpose: 'upstream-login',
  orgId,
  subjectId: createHash('sha256')
    .update(JSON.stringify([iss, sub]))
    .digest('base64url'),
  version,
});

/** A provider ready to be talked to: its client secret opened. @throws KontextError `KX_VAULT_OPEN`. */
export async function openUpstream(
  kms: Kms,
  { provider, secret }: Pick<LoginProvider, 'provider' | 'secret'>,
): Promise<UpstreamClient> {
  if (secret === null) return { provider, secret: null };
  return { provider, secret: await openText(kms, clientSecretContext(provider.orgId, provider.id), secret) };
}

/** Seals what an identity's provider can be asked with again. @param before The secret it replaces, if any. */
export function sealRefreshToken(
  kms: Kms,
  identity: IdentityKey,
  refreshToken: Secret,
  before: Pick<SecretRow, 'version'> | null,
  now: Date,
): Promise<SecretRow> {
  return sealText(kms, refreshContext(identity, (before?.version ?? 0) + 1), refreshToken, now);
}

/** Opens it. @throws KontextError `KX_VAULT_OPEN` when the row is another identity's. */
export const openRefreshToken = (kms: Kms, identity: IdentityKey, row: SecretRow): Promise<Secret> =>
  openText(kms, refreshContext(identity, row.version), row);

/** Seals a text; its plain bytes are zeroed. */
export async function sealText(
  kms: Kms,
  context: SecretContext,
  text: Secret,
  now: Date,
): Promise<SecretRow> {
  const plaintext = Buffer.from(text.reveal(), 'utf8');
  try {
    return await sealAsRow(kms, context, plaintext, now);
  } finally {
    plaintext.fill(0);
  }
}

async function openText(kms: Kms, context: SecretContext, row: SecretRow): Promise<Secret> {
  const plaintext = await openRow(kms, context, row);
  try {
    return new Secret(plaintext.toString('utf8'));
  } finally {
    plaintext.fill(0);
  }
}
