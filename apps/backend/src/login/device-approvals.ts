import type { Provider } from 'oidc-provider';
import type { BrowserAccount } from './browser-sessions.ts';
import type { OidcAdapters } from './oidc-adapter.ts';

/** Scopes a device login can be granted: of the authorization server, and of our API. */
const openidScopes = ['openid', 'offline_access'];
const apiScopes = ['kontext'];

/** A device code that waits for a decision, as a person has to see it. */
export interface PendingDevice {
  /** As the terminal shows it. */
  readonly userCode: string;
  readonly clientId: string;
  readonly clientName: string;
  /** What the device's `User-Agent: kontext/<version> (<hostname>)` claims. */
  readonly machine: string | null;
  readonly version: string | null;
  readonly address: string;
  readonly ageSeconds: number;
}

/** What became of a user code. */
export type DeviceLookup =
  | { readonly state: 'pending'; readonly device: PendingDevice }
  | { readonly state: 'unknown' | 'expired' | 'decided' };

/** What a decision led to; `grantId` is set when it was an approval. */
export type DeviceDecision =
  | { readonly state: 'done'; readonly device: PendingDevice; readonly grantId: string | null }
  | { readonly state: 'unknown' | 'expired' | 'decided' };

/** The person's half of the device flow (RFC 8628 §3.3). */
export interface DeviceApprovals {
  find(userCode: string): Promise<DeviceLookup>;
  /** Decides once; of two people deciding at the same time one is told `decided`. */
  decide(userCode: string, approve: boolean, account: BrowserAccount): Promise<DeviceDecision>;
}

/**
 * Creates the approvals.
 *
 * @param apiUrl The resource the grant is for.
 */
export function createDeviceApprovals(
  provider: Provider,
  adapters: OidcAdapters,
  apiUrl: string,
  nowMs: () => number,
): DeviceApprovals {
  const load = async (userCode: string) => {
    const code = await provider.DeviceCode.findByUserCode(normalizeUserCode(userCode), {
      ignoreExpiration: true,
    });
    if (!code) return { state: 'unknown' } as const;
    if (code.isExpired) return { state: 'expired' } as const;
    if (code.error !== undefined || code.accountId !== undefined) return { state: 'decided' } as const;
    const client = await provider.Client.find(code.clientId ?? '');
    const device = describe(code, client?.clientName ?? code.clientId ?? '', nowMs());
    return { state: 'pending', device, code } as const;
  };

  return {
    find: async (userCode) => {
      const found = await load(userCode);
      return found.state === 'pending' ? { state: 'pending', device: found.device } : found;
    },
    decide: async (userCode, approve, account) => {
      const found = await load(userCode);
      if (found.state !== 'pending') return found;
      const { code, device } = found;
      if (!(await adapters.claimDecision(code.jti, code.remainingTTL))) return { state: 'decided' };
      if (!approve) {
        Object.assign(code, {
          error: 'access_denied',
          errorDescription: 'the login was denied on the approval page',
        });
        await code.save();
        return { state: 'done', device, grantId: null };
      }
      const requested = String(code.params?.scope ?? '').split(' ');
      const scopes = [...openidScopes, ...apiScopes].filter((scope) => requested.includes(scope));
      const grant = new provider.Grant({ accountId: account.userId, clientId: device.clientId });
      grant.addOIDCScope(scopes.filter((scope) => openidScopes.includes(scope)).join(' '));
      grant.addResourceScope(apiUrl, scopes.filter((scope) => apiScopes.includes(scope)).join(' '));
      const grantId = await grant.save();
      Object.assign(code, {
        accountId: account.userId,
        authTime: Math.floor(account.loggedInAtMs / 1000),
        grantId,
        scope: scopes.join(' '),
        resource: apiUrl,
      });
      await code.save();
      return { state: 'done', device, grantId };
    },
  };
}

/** A user code as it is compared: upper case, letters only (RFC 8628 §6.1). */
export const normalizeUserCode = (input: string): string =>
  input
    .toUpperCase()
    .replace(/[^A-Z]/g, '')
    .slice(0, 32);

interface DescribedCode {
  readonly userCode: string;
  readonly clientId?: string | undefined;
  readonly deviceInfo?: Record<string, unknown> | undefined;
  readonly iat?: number | undefined;
}

function describe(code: DescribedCode, clientName: string, nowMs: number): PendingDevice {
  const agent = /^kontext\/([^\s()]{1,40}) \((.{1,255})\)$/su.exec(String(code.deviceInfo?.ua ?? ''));
  return {
    userCode: `${code.userCode.slice(0, 4)}-${code.userCode.slice(4)}`,
    clientId: code.clientId ?? '',
    clientName,
    machine: agent?.[2] ?? null,
    version: agent?.[1] ?? null,
    address: String(code.deviceInfo?.ip ?? 'unknown'),
    ageSeconds: Math.max(0, Math.floor(nowMs / 1000) - (code.iat ?? 0)),
  };
}
