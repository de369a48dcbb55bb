import { KontextError } from '@kontext/errors';
import type { Context } from '../context.ts';
import { type Backend, openBackend } from '../rpc/open-backend.ts';
import { request } from '../rpc/request.ts';
import { maxSkewMs } from '../rpc/server-clock.ts';
import { measureSpool, type SpoolSize } from '../session/measure-spool.ts';

/** The state of this command on this machine. Key sets are pinned by a test: additive only. */
export interface Status {
  readonly apiUrl: string;
  readonly issuer: string;
  readonly loggedIn: boolean;
  readonly user: { readonly id: string; readonly name: string } | null;
  readonly org: { readonly id: string; readonly name: string | null } | null;
  readonly role: string | null;
  readonly loginStore: string | null;
  readonly backend: {
    readonly reachable: boolean;
    readonly version: string | null;
    /** Server's clock minus ours, null when it was not reached. */
    readonly clockSkewMs: number | null;
  };
  /** Whether the backend signs policy with the key pinned at login; null when it was not reached. */
  readonly policyKeyPinned: boolean | null;
  /** Audit events of ended or running sessions that wait to be sent. */
  readonly spool: SpoolSize;
  /** The session we run inside. */
  readonly session: string | null;
  /** What is wrong, null when nothing is. */
  readonly error: { readonly code: string; readonly message: string; readonly next: string } | null;
}

/** Looks at login, backend and spool. A backend that is away is part of the answer, not an error. */
export async function gatherStatus(context: Context): Promise<{ status: Status; exitCode: number }> {
  const { config } = context;
  const base = {
    apiUrl: config.apiUrl,
    issuer: config.issuer,
    spool: measureSpool(config.stateDir),
    session: config.sessionId,
  };
  let backend: Backend | undefined;
  try {
    backend = await openBackend(context);
    return { status: { ...base, ...(await askBackend(backend, context.signal)) }, exitCode: 0 };
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    const failure = { code: error.code, message: error.message, next: error.hint };
    const reachable = backend === undefined && (await isBackendThere(config.apiUrl));
    const status = { ...base, ...describeOffline(backend, error, reachable), error: failure };
    return { status, exitCode: error.spec.exitCode };
  } finally {
    backend?.close();
  }
}

async function askBackend(backend: Backend, signal: AbortSignal) {
  const clients = await backend.connect();
  const caller = await clients.organisation.getCaller({}, { signal, timeoutMs: 10_000 });
  return {
    loggedIn: true,
    user: { id: caller.userId, name: caller.userName },
    org: { id: caller.orgId, name: caller.orgName },
    role: caller.role,
    loginStore: backend.store.location,
    backend: { reachable: true, version: caller.serverVersion, clockSkewMs: skewOf(backend) },
    policyKeyPinned: caller.policyKeyThumbprint === backend.login.policyKey,
    error: null,
  };
}

/** Without a login only the health of a backend can be asked. */
async function isBackendThere(apiUrl: string): Promise<boolean> {
  try {
    return (await request({ method: 'GET', url: `${apiUrl}/healthz`, timeoutMs: 3_000 })).status === 200;
  } catch {
    return false;
  }
}

/** What is known without the backend: the stored login. */
function describeOffline(backend: Backend | undefined, error: KontextError, reachable: boolean) {
  const over = ['KX_LOGIN_EXPIRED', 'KX_UNAUTHENTICATED', 'KX_CLOCK_SKEW'].includes(error.code);
  return {
    loggedIn: backend !== undefined && !over,
    user: backend ? { id: backend.login.sub, name: backend.login.name } : null,
    org: backend ? { id: backend.login.org, name: null } : null,
    role: null,
    loginStore: backend?.store.location ?? null,
    backend: { reachable: over || reachable, version: null, clockSkewMs: backend?.clock.skewMs ?? null },
    policyKeyPinned: null,
  };
}

/** `Date` has whole seconds: a second either way says nothing. */
function skewOf({ clock }: Backend): number {
  const skewMs = clock.skewMs ?? 0;
  return Math.abs(skewMs) < 2_000 ? 0 : skewMs;
}

/** Whether the clock is so far off that a person should set it. */
export const isSkewed = (status: Status): boolean => Math.abs(status.backend.clockSkewMs ?? 0) > maxSkewMs;
