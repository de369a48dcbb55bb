import { randomBytes } from 'node:crypto';
import { Secret } from '@kontext/redaction';
import type { Minted, Minter, MinterDeps, MintRequest, RevokeRequest } from './minter.ts';
import { pickEntry } from './pick-entry.ts';
import { parseAdminAddress, withAdmin } from './postgres-admin.ts';
import { cutOff, dropRole, findDatabasesOf, handOver, makeRole, roleExists } from './postgres-role.ts';
import { makeScramVerifier } from './scram-verifier.ts';
import { type PostgresSettings, postgresSettings } from './settings.ts';

const fields = ['url', 'host', 'port', 'user', 'password', 'database'] as const;
const defaultMaxTtlSeconds = 12 * 3600;
const defaultConnectionLimit = 10;
/** Looking a name up has no limit of its own; with one statement more it is within the 30 s of `Minter.mint`. */
const latestMakeMs = 20_000;

/**
 * Leased roles of Postgres: one `LOGIN` role per lease, member of a template role that has the rights, dropped when the lease
 * ends. The default value is a connection URL.
 */
export function createPostgresMinter(deps: MinterDeps): Minter {
  return {
    target: ({ settings }, resource) => {
      const { base, field, entry } = pickEntry(read(settings).databases, resource, fields);
      const max = entry.maxTtlSeconds ?? defaultMaxTtlSeconds;
      return { base, field, scopes: [], ttlSeconds: { min: 60, max } };
    },
    plan: (leaseId) => `kontext_${leaseId.replaceAll('-', '_')}`,
    mint: (request) => mint(deps, request),
    revoke: (request) => revoke(deps, request),
  };
}

const read = (settings: string): PostgresSettings => postgresSettings.parse(JSON.parse(settings));

async function mint(deps: MinterDeps, request: MintRequest): Promise<Minted> {
  const { provider, providerSecret, plannedName, target, ttlSeconds } = request;
  const settings = read(provider.settings);
  const { entry } = pickEntry(settings.databases, target.base, fields);
  const admin = parseAdminAddress(providerSecret);
  const password = randomBytes(24).toString('base64url');
  const startedAtMs = deps.nowMs();
  await withAdmin(deps, admin, settings, entry.database, (query) =>
    makeRole(query, {
      ...{ name: plannedName, verifier: makeScramVerifier(password), template: entry.role, ttlSeconds },
      connectionLimit: entry.connectionLimit ?? defaultConnectionLimit,
      isLate: () => deps.nowMs() - startedAtMs > latestMakeMs,
    }),
  );
  const host = entry.host ?? admin.host;
  const port = entry.port ?? admin.port;
  const { database } = entry;
  const sslMode = settings.tls === 'off' ? 'disable' : 'verify-full';
  const authority = `${plannedName}:${password}@${host.includes(':') ? `[${host}]` : host}:${port}`;
  const url = `postgres://${authority}/${encodeURIComponent(database)}?sslmode=${sslMode}`;
  const byField = { '': url, url, host, port: String(port), user: plannedName, password, database };
  return {
    values: new Map(Object.entries(byField).map(([field, value]) => [field, new Secret(value)])),
    expiresAt: new Date(startedAtMs + ttlSeconds * 1000),
    ...{ scopes: [], keep: null },
  };
}

async function revoke(deps: MinterDeps, request: RevokeRequest): Promise<'revoked' | 'gone'> {
  const { provider, providerSecret, plannedName } = request;
  // A lease from before its name was planned: nothing was made.
  if (plannedName === null || !plannedName.startsWith('kontext_')) return 'gone';
  const settings = read(provider.settings);
  const admin = parseAdminAddress(providerSecret);
  const within = <T>(database: string, work: Parameters<typeof withAdmin<T>>[4]): Promise<T> =>
    withAdmin(deps, admin, settings, database, work);
  const holds = await within(admin.database, async (query) => {
    if (!(await roleExists(query, plannedName))) return null;
    await cutOff(query, plannedName);
    return findDatabasesOf(query, plannedName);
  });
  if (holds === null) return 'gone';
  for (const database of new Set(holds.map((name) => name ?? admin.database))) {
    await within(database, (query) => handOver(query, plannedName));
  }
  await within(admin.database, (query) => dropRole(query, plannedName));
  return 'revoked';
}
