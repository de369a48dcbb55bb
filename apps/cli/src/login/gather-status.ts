import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { KontextError } from '@kontext/errors';
import type { Login } from '@kontext/protocol';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { type Backend, openBackend } from '../rpc/open-backend.ts';
import { request } from '../rpc/request.ts';
import { maxSkewMs } from '../rpc/server-clock.ts';
import { measureSpool, type SpoolSize } from '../session/measure-spool.ts';
import { describeTrouble } from '../witness/witness.ts';
import { readWitness } from '../witness/witness-state.ts';

/** The state of this command on this machine. Key sets are pinned by a test: additive only. */
export interface Status {
  readonly apiUrl: string;
  readonly issuer: string;
  readonly loggedIn: boolean;
  readonly user: { readonly id: string; readonly name: string } | null;
  readonly org: { readonly id: string; readonly name: string | null; readonly slug: string | null } | null;
  readonly role: string | null;
  /** The login of this machine as the backend knows it; null when it was not reached. */
  readonly login: LoginFacts | null;
  readonly loginStore: string | null;
  readonly backend: {
    readonly reachable: boolean;
    readonly version: string | null;
    /** Server's clock minus ours, null when it was not reached. */
    readonly clockSkewMs: number | null;
  };
  /** Whether the backend signs policy with the key pinned at login; null when it was not reached. */
  readonly policyKeyPinned: boolean | null;
  /** The account's live sessions and credentials, on every machine; null when they could not be counted. */
  readonly live: { readonly sessions: number; readonly leases: number } | null;
  /** Audit events of ended or running sessions that wait to be sent. */
  readonly spool: SpoolSize;
  /** What the backend's audit log was caught at, on this machine; null when nothing was. */
  readonly auditTrouble: { readonly code: string; readonly message: string; readonly why: string } | null;
  /** The session we run inside. */
  readonly session: string | null;
  /** What is wrong, null when nothing is. */
  readonly error: { readonly code: string; readonly message: string; readonly next: string } | null;
}

/** Instants are RFC 3339, null where the backend says none. */
export interface LoginFacts {
  readonly machine: string;
  readonly address: string;
  /** How the person was at the browser (`acr`), and when. */
  readonly acr: string;
  readonly authenticatedAt: string | null;
  readonly createdAt: string | null;
  /** When it ends unless it is used before. */
  readonly idleExpiresAt: string | null;
  /** When it ends whatever happens. */
  readonly absoluteExpiresAt: string | null;
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
    const answered = await askBackend(backend, context.signal);
    const trouble = troubleOf(context, backend.login.org);
    const exitCode = trouble?.spec.exitCode ?? 0;
    return { status: { ...base, ...answered, auditTrouble: toFailure(trouble) }, exitCode };
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    const failure = { code: error.code, message: error.message, next: error.hint };
    const reachable = backend === undefined && (await isBackendThere(config.apiUrl));
    const auditTrouble = backend ? toFailure(troubleOf(context, backend.login.org)) : null;
    const offline = describeOffline(backend, error, reachable);
    const status = { ...base, ...offline, auditTrouble, error: failure };
    return { status, exitCode: error.spec.exitCode };
  } finally {
    backend?.close();
  }
}

const troubleOf = ({ config: { apiUrl, stateDir } }: Context, orgId: string): KontextError | null =>
  describeTrouble(readWitness({ apiUrl, stateDir, orgId }).trouble);

const toFailure = (error: KontextError | null): Status['auditTrouble'] =>
  error && { code: error.code, message: error.message, why: error.why };

async function askBackend(backend: Backend, signal: AbortSignal) {
  const clients = await backend.connect();
  const caller = await clients.organisation.getCaller({}, { signal, timeoutMs: 10_000 });
  return {
    loggedIn: true,
    user: { id: caller.userId, name: caller.userName },
    org: { id: caller.orgId, name: caller.orgName, slug: caller.orgSlug === '' ? null : caller.orgSlug },
    role: caller.role,
    login: caller.login ? loginFacts(caller.login) : null,
    live: await countLive(clients, signal),
    loginStore: backend.store.location,
    backend: { reachable: true, version: caller.serverVersion, clockSkewMs: skewOf(backend) },
    policyKeyPinned: caller.policyKeyThumbprint === backend.login.policyKey,
    error: null,
  };
}

const rfc3339 = (stamp: Timestamp | undefined): string | null =>
  stamp === undefined ? null : timestampDate(stamp).toISOString();

const loginFacts = (login: Login): LoginFacts => ({
  machine: login.machine,
  address: login.address,
  acr: login.acr,
  authenticatedAt: rfc3339(login.authAt),
  createdAt: rfc3339(login.createdAt),
  idleExpiresAt: rfc3339(login.idleExpiresAt),
  absoluteExpiresAt: rfc3339(login.absoluteExpiresAt),
});

/** Up to a page of each: who has more sees that there are many. */
async function countLive(clients: Clients, signal: AbortSignal): Promise<Status['live']> {
  const options = { signal, timeoutMs: 10_000 };
  try {
    const [{ sessions }, { leases }] = await Promise.all([
      clients.sessions.listSessions({ mine: true, live: true, pageSize: 200 }, options),
      clients.credentials.listLeases({ live: true, pageSize: 200 }, options),
    ]);
    return { sessions: sessions.length, leases: leases.length };
  } catch (error) {
    if (error instanceof KontextError) return null;
    throw error;
  }
}

/** Without a login only the health of a backend can be asked. */
async function isBackendThere(apiUrl: string): Promise<boolean> {
  try {
    return (await request({ method: 'GET', url: `${apiUrl}/healthz`, timeoutMs: 3_000 })).status === 200;
  } catch {
    return false;
  }
}

/** What only a backend that was reached can say. */
const refusals: ReadonlySet<string> = new Set([
  ...['KX_LOGIN_EXPIRED', 'KX_LOGIN_REVOKED', 'KX_ACCOUNT_SUSPENDED', 'KX_ACCOUNT_NOT_VOUCHED'],
  ...['KX_UNAUTHENTICATED', 'KX_CLOCK_SKEW'],
]);

/** What is known without the backend: the stored login. */
function describeOffline(backend: Backend | undefined, error: KontextError, reachable: boolean) {
  const over = refusals.has(error.code);
  return {
    loggedIn: backend !== undefined && !over,
    user: backend ? { id: backend.login.sub, name: backend.login.name } : null,
    org: backend ? { id: backend.login.org, name: null, slug: null } : null,
    role: null,
    login: null,
    live: null,
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
