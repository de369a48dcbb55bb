import { setTimeout as sleep } from 'node:timers/promises';
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { OidcAdapters } from '../../login/oidc-adapter.ts';
import { deviceCodeGrant, isRotationDue } from './provider.ts';

/** Default of `interval` in seconds (RFC 8628 §3.2). Shorter than the RFC's 5: our server is small and near. */
export const defaultIntervalSeconds = 2;

/** RFC 8628 §3.5: how much longer a client has to wait after `slow_down`. */
const slowDownMs = 5000;
/** A poll may come so much too early: timers and networks are not exact. */
const toleranceMs = 300;

/** What the middleware needs. */
export interface DeviceFlowOptions {
  readonly apiUrl: string;
  readonly adapters: OidcAdapters;
  readonly intervalSeconds: number;
}

type Next = () => Promise<unknown>;

/**
 * Adds what the library leaves out of the device flow and of rotation, as middleware around it (identity.md G2, G4):
 *
 * - device authorization answers carry `interval`, and point to our `/activate` page;
 * - a client that polls too fast hears `slow_down`, and has to wait 5 s longer from then on;
 * - a refresh that lost the race for rotation, or came within the grace, gets the one successor.
 */
export function addDeviceFlowRules(provider: Provider, options: DeviceFlowOptions): void {
  const pace = { intervalMs: options.intervalSeconds * 1000, toleranceMs, slowDownMs };
  provider.use(async (ctx: KoaContextWithOIDC, next: Next) => {
    await next();
    const body = ctx.body as Record<string, unknown> | undefined;
    if (typeof body !== 'object' || body === null) return;
    if (ctx.oidc?.route === 'device_authorization' && typeof body.user_code === 'string') {
      const page = `${options.apiUrl}/activate`;
      body.verification_uri = page;
      body.verification_uri_complete = `${page}?user_code=${encodeURIComponent(body.user_code)}`;
      body.interval = options.intervalSeconds;
    }
    if (ctx.oidc?.route !== 'token') return;
    const grant = ctx.oidc.params?.grant_type;
    if (grant === deviceCodeGrant && body.error === 'authorization_pending') {
      const code = String(ctx.oidc.params?.device_code);
      if (await options.adapters.isPollTooEarly(code, pace))
        ctx.body = { error: 'slow_down', error_description: 'poll less often' };
    }
    if (grant === 'refresh_token' && typeof body.refresh_token === 'string') {
      body.refresh_token = await currentToken(options.adapters, body.refresh_token, ctx);
    }
  });
}

/** The token to hand out: the one found within the grace, the winner's successor, or the one that was sent. */
async function currentToken(adapters: OidcAdapters, sent: string, ctx: KoaContextWithOIDC): Promise<string> {
  const token = ctx.oidc.entities.RefreshToken;
  if (!token || ctx.oidc.entities.RotatedRefreshToken) return sent;
  if (token.jti !== sent) return token.jti;
  if (!isRotationDue(token)) return sent;
  // Somebody else is rotating it right now: wait for the successor, 2 s at most.
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const successor = await adapters.findSuccessor(sent);
    if (successor !== null) return successor;
    await sleep(100);
  }
  return sent;
}
