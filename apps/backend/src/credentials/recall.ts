import { revokesTokens } from '../providers/minted/token-exchange-minter.ts';
import { readSettings } from '../providers/quirks-of.ts';
import type { LeaseRow } from '../store/queries/leases.ts';
import type { ProviderRow } from '../store/queries/providers.ts';

/**
 * What revoking can do about a credential: `upstream`, it dies at the provider; `expires`, it is shared with other sessions, or
 * the provider cannot take it back, and lives until it expires; `never`, it lives until somebody replaces it by hand.
 */
export type Recall = 'upstream' | 'expires' | 'never';

/** What of a provider decides; null: it was removed. */
export type RecallingProvider = Pick<ProviderRow, 'kind' | 'revocationEndpoint' | 'settings'> | null;

/** Tells what can be done about the credential of a stored lease; pure. */
export function recallOf(
  lease: Pick<LeaseRow, 'kind' | 'secretId' | 'revocation'>,
  provider: RecallingProvider,
): Recall {
  // Somebody tried already.
  if (lease.revocation === 'done') return 'upstream';
  if (lease.revocation === 'impossible') return 'expires';
  return recallByKind(lease.kind, lease.secretId !== null, provider);
}

/** The same of a credential that is being handed out. @param isOwn Whether it was made for this lease alone. */
export function recallByKind(kind: LeaseRow['kind'], isOwn: boolean, provider: RecallingProvider): Recall {
  switch (kind) {
    case 'static':
      return 'never';
    case 'token':
      // Ours: dead at our API with its lease.
      return 'upstream';
    case 'oauth':
      return isOwn && canRevoke(provider) ? 'upstream' : 'expires';
    case 'minted':
      return isRecallable(provider) ? 'upstream' : 'expires';
  }
}

/** What makes narrowed tokens also deletes them (GitHub), without an endpoint of RFC 7009. */
const canRevoke = (provider: RecallingProvider): boolean =>
  provider !== null &&
  (provider.revocationEndpoint !== '' || readSettings(provider.settings).narrow !== undefined);

/** AWS has no way to take back the keys of one role session. */
function isRecallable(provider: RecallingProvider): boolean {
  if (provider === null || provider.kind === 'aws_sts') return false;
  return provider.kind === 'token_exchange' ? revokesTokens(provider.settings) : true;
}
