import { KontextError } from '@kontext/errors';
import type { Secret } from '@kontext/redaction';
import { loadClientKey } from '../client-key.ts';
import { parseAdminAddress } from './postgres-admin.ts';
import type { AwsStsSettings, TokenExchangeSettings } from './settings.ts';

/**
 * Checks that the one secret of a minted provider fits its settings, before it is sealed. Nothing is called.
 *
 * @param settings As its schema gave them.
 * @param secret Null: none was given.
 * @throws KontextError `KX_PROVIDER_INVALID`; it never quotes the secret.
 */
export async function checkMintedSecret(
  kind: string,
  settings: object,
  secret: Secret | null,
): Promise<void> {
  switch (kind) {
    case 'postgres':
      parseAdminAddress(secret);
      return;
    case 'github_app':
      if ((await loadClientKey(secret?.reveal() ?? '')).alg === 'RS256') return;
      throw invalid('the private key of a GitHub App is an RSA key');
    case 'aws_sts':
      return checkPresence((settings as AwsStsSettings).accessKeyId !== undefined, secret);
    case 'token_exchange': {
      const { clientAuth } = settings as TokenExchangeSettings;
      checkPresence(clientAuth !== 'none', secret);
      if (clientAuth === 'private_key_jwt') await loadClientKey(secret?.reveal() ?? '');
    }
  }
}

function checkPresence(isWanted: boolean, secret: Secret | null): void {
  if (isWanted && secret === null) throw invalid('the secret is missing');
  if (!isWanted && secret !== null) throw invalid('the settings leave no use for a secret');
}

const invalid = (why: string): KontextError =>
  new KontextError('KX_PROVIDER_INVALID', 'the provider description cannot be used', { why });
