import type { Provider } from 'oidc-provider';
import type { BrowserAccount } from './browser-sessions.ts';
import { deviceAcr, type Logins } from './logins.ts';
import type { OidcAdapters } from './oidc-adapter.ts';

/** Scopes a login can be granted: of the authorization server, and of our API. */
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

/** What approvals need besides the authorization server. */
export interface DeviceApprovalsOptions {
  /** The resource the grant is for. */
  readonly apiUrl: string;
  readonly logins: Pick<Logins, 'begin'>;
  readonly nowMs: () => number;
}

/** Creates the approvals. */
export function createDeviceApprovals(
  provider: Provider,
  adapters: OidcAdapters,
  { apiUrl, logins, nowMs }: DeviceApprovalsOptions,
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
      const scopes = grantableScopes(String(code.params?.scope ?? ''));
      const grantId = await saveGrant(provider, { account, clientId: device.clientId, apiUrl, scopes });
      await logins.begin(grantId, { account, ...device });
      Object.assign(code, {
        accountId: account.userId,
        acr: deviceAcr,
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

/** Of the scopes a terminal asks for, those a login can be granted. */
export const grantableScopes = (requested: string): string[] =>
  [...openidScopes, ...apiScopes].filter((scope) => requested.split(' ').includes(scope));

/** Who grants what to which client. */
export interface GrantInput {
  readonly account: Pick<BrowserAccount, 'userId'>;
  readonly clientId: string;
  /** The resource the API scopes are for. */
  readonly apiUrl: string;
  /** From {@link grantableScopes}. */
  readonly scopes: readonly string[];
}

/** Makes the grant of one login. @returns Its id. */
export async function saveGrant(provider: Provider, input: GrantInput): Promise<string> {
  const grant = new provider.Grant({ accountId: input.account.userId, clientId: input.clientId });
  grant.addOIDCScope(input.scopes.filter((scope) => openidScopes.includes(scope)).join(' '));
  grant.addResourceScope(input.apiUrl, input.scopes.filter((scope) => apiScopes.includes(scope)).join(' '));
  return grant.save();
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
  const { machine, version } = readUserAgent(String(code.deviceInfo?.ua ?? ''));
  return {
    userCode: `${code.userCode.slice(0, 4)}-${code.userCode.slice(4)}`,
    clientId: code.clientId ?? '',
    clientName,
    machine,
    version,
    address: String(code.deviceInfo?.ip ?? 'unknown'),
    ageSeconds: Math.max(0, Math.floor(nowMs / 1000) - (code.iat ?? 0)),
  };
}

/** What a terminal claims of itself: `kontext/<version> (<hostname>)`. */
export function readUserAgent(text: string): { machine: string | null; version: string | null } {
  const agent = /^kontext\/([^\s()]{1,40}) \((.{1,255})\)$/su.exec(text);
  return { machine: agent?.[2] ?? null, version: agent?.[1] ?? null };
}
