/**
 * Connections of the administrator to a database in which roles are leased.
 *
 * The host is named by an organisation, so the rules of `safe-fetch` hold: the address is looked up once, checked, and that very
 * address is connected to. TLS with a checked name, or none at all to loopback in local mode; nothing in between.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { KontextError } from '@kontext/errors';
import type { Secret } from '@kontext/redaction';
import pg from 'pg';
import { isLoopbackAddress, isPublicAddress } from '../public-address.ts';
import { unreachable } from '../safe-fetch.ts';
import type { MinterDeps } from './minter.ts';
import type { PostgresSettings } from './settings.ts';

/** An administrator's connection string, read. */
export interface AdminAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** No statement of ours is long; together they end well before a lease counts as abandoned, see `Minter.mint`. */
const [connectTimeoutMs, statementTimeoutMs] = [8000, 5000];

/**
 * Reads `postgres://user:password@host[:port][/database]`; a query is refused, because TLS is a setting.
 *
 * @throws KontextError `KX_PROVIDER_INVALID`; it never quotes the string.
 */
export function parseAdminAddress(secret: Secret | null): AdminAddress {
  const text = secret?.reveal() ?? '';
  const url = /^postgres(ql)?:\/\//.test(text) && URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.hostname === '' || url.username === '' || url.password === '') {
    throw invalidAdmin('it must be postgres://user:password@host:port/database');
  }
  if (url.search !== '' || url.hash !== '')
    throw invalidAdmin('it must have no query; TLS is the setting `tls`');
  try {
    const [user, password, path] = [url.username, url.password, url.pathname.slice(1)].map(
      decodeURIComponent,
    );
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = url.port === '' ? 5432 : Number(url.port);
    return { host, port, user: user ?? '', password: password ?? '', database: path || 'postgres' };
  } catch {
    throw invalidAdmin('it is not percent-encoded correctly');
  }
}

const invalidAdmin = (why: string): KontextError =>
  new KontextError('KX_PROVIDER_INVALID', 'the administrator connection cannot be used', { why });

/**
 * Runs work on one connection of the administrator, and closes it.
 *
 * @param database Which database; the rest is the administrator's.
 * @throws KontextError `KX_PROVIDER_UNREACHABLE` when it may work later, `KX_MINT_REFUSED` when the server says no.
 */
export async function withAdmin<T>(
  deps: ReachDeps,
  address: AdminAddress,
  settings: Pick<PostgresSettings, 'tls' | 'ca'>,
  database: string,
  work: (query: Query) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    ...{ host: await resolveHost(deps, address), port: address.port, user: address.user, database },
    ...{ password: address.password, ssl: tlsOf(deps, address.host, settings) },
    ...{ application_name: 'kontext', connectionTimeoutMillis: connectTimeoutMs },
    ...{ statement_timeout: statementTimeoutMs, query_timeout: statementTimeoutMs + 1000 },
  });
  // A connection that breaks between two statements fails the next one; nobody else listens.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(async (text, values = []) => (await client.query(text, [...values])).rows);
  } catch (error) {
    throw judge(error, address.host);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** What decides which hosts are reached. */
type ReachDeps = Pick<MinterDeps, 'local' | 'allowedHosts'>;

/** Runs one statement and gives its rows. */
export type Query = (text: string, values?: readonly unknown[]) => Promise<Record<string, unknown>[]>;

/** The one address that will be connected to. @throws KontextError `KX_PROVIDER_UNREACHABLE`. */
async function resolveHost(
  { local, allowedHosts = [] }: ReachDeps,
  { host, port }: AdminAddress,
): Promise<string> {
  const isListed = [host, `${host}:${port}`].some((name) => allowedHosts.includes(name.toLowerCase()));
  const found = isIP(host)
    ? [host]
    : (
        await lookup(host, { all: true }).catch(() => {
          throw unreachable('network', host, 'its name cannot be looked up');
        })
      ).map(({ address }) => address);
  const allowed = found.find((one) => isListed || isPublicAddress(one) || (local && isLoopbackAddress(one)));
  if (allowed === undefined) throw unreachable('address', host, 'it does not have a public address');
  return allowed;
}

function tlsOf(
  { local }: ReachDeps,
  host: string,
  { tls, ca }: Pick<PostgresSettings, 'tls' | 'ca'>,
): pg.ClientConfig['ssl'] {
  if (tls === 'off') {
    if (local && (host === 'localhost' || isLoopbackAddress(host))) return false;
    throw new KontextError('KX_PROVIDER_INVALID', 'the connection to the database must be encrypted', {
      why: '`tls: off` is for loopback in local mode',
    });
  }
  // The socket goes to an address; the certificate has to be that of the name.
  const name = isIP(host) === 0 ? { servername: host } : {};
  return { rejectUnauthorized: true, ...name, ...(ca === undefined ? {} : { ca }) };
}

/** SQLSTATE classes after which the same statement may work later: connection, resources, intervention, retry. */
const transient = /^(08|40|53|55|57|58|XX)/;

function judge(error: unknown, host: string): unknown {
  if (error instanceof KontextError) return error;
  if (error instanceof pg.DatabaseError) {
    const code = error.code ?? '';
    if (transient.test(code)) return unreachable('status', host, `the database answered ${code}`);
    return new KontextError('KX_MINT_REFUSED', `the database refused (SQLSTATE ${code})`, {
      why: 'the administrator may not do it, or the template role is missing',
      details: { sqlstate: code },
    });
  }
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
  return unreachable('network', host, `the connection failed${code}`);
}
