import { createId } from '@kontext/audit';
import { Secret } from '@kontext/redaction';
import { startPostgresCluster } from '@kontext/testkit';
import pg from 'pg';
import type { MintedProvider, Minter, MinterDeps, MintRequest } from './minter.ts';

/** A real Postgres in which roles can be leased, set up as docs/minted-credentials.md says. */
export interface TestTarget {
  readonly provider: MintedProvider;
  /** The administrator's connection string; it is no superuser. */
  readonly adminUrl: string;
  readonly templateRole: string;
  readonly database: string;
  readonly port: number;
  /** Runs one statement as superuser. */
  sql(text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  /** Names of the leased roles that exist and are members of the template. */
  leasedRoles(): Promise<string[]>;
  close(): Promise<void>;
}

/** Minter dependencies for tests that meet nothing but loopback. */
export const testMinterDeps = (change: Partial<MinterDeps> = {}): MinterDeps => ({
  fetch: () => Promise.reject(new Error('not called')),
  nowMs: Date.now,
  local: true,
  issuer: 'http://127.0.0.1:4180/oauth',
  signAssertion: () => Promise.reject(new Error('not called')),
  ...change,
});

/** A provider row's minted part. */
export const testProvider = (kind: MintedProvider['kind'], settings: object): MintedProvider => ({
  ...{ id: 'prv_1', orgId: 'org_1', name: 'target', kind, settings: JSON.stringify(settings) },
});

/** A request to mint as the exchange makes it. */
export const testMintRequest = (
  minter: Minter,
  provider: MintedProvider,
  secret: string | null,
  change: Partial<MintRequest> & { readonly resource?: string } = {},
): MintRequest => {
  const { resource = '', ...rest } = change;
  return {
    ...{ provider, providerSecret: secret === null ? null : new Secret(secret) },
    ...{ target: minter.target(provider, resource), plannedName: minter.plan(createId('lea')), scopes: [] },
    ...{ ttlSeconds: 1800, orgId: 'org_1', userId: 'usr_1', agent: 'claude', sessionId: 'ses_1' },
    userToken: () => Promise.reject(new Error('not called')),
    ...rest,
  };
};

/** Makes a database with a table, a template role that may read it, and an administrator that may lease it. */
export async function openTestTarget(options: { readonly own?: boolean } = {}): Promise<TestTarget> {
  const cluster = await startPostgresCluster(options);
  const { name: database, url } = await cluster.createDatabase();
  const templateRole = `readers ${database}`;
  const adminRole = `admin_${database}`;
  const sql = async (text: string, values: readonly unknown[] = []) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(text, [...values])).rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  };
  await sql(`
    CREATE TABLE invoices (id int, note text);
    INSERT INTO invoices VALUES (7, 'paid');
    CREATE ROLE "${templateRole}" NOLOGIN;
    GRANT USAGE, CREATE ON SCHEMA public TO "${templateRole}";
    GRANT SELECT ON invoices TO "${templateRole}";
    CREATE ROLE ${adminRole} LOGIN CREATEROLE PASSWORD 'p@ss/word';
    GRANT "${templateRole}" TO ${adminRole} WITH ADMIN OPTION;`);
  const settings = { databases: { prod: { database, role: templateRole } }, tls: 'off' };
  return {
    ...{ provider: testProvider('postgres', settings), templateRole, database, port: cluster.port, sql },
    adminUrl: `postgres://${adminRole}:p%40ss%2Fword@127.0.0.1:${cluster.port}/${database}`,
    leasedRoles: async () => {
      const rows = await sql(
        `SELECT r.rolname FROM pg_auth_members m JOIN pg_roles t ON t.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
          WHERE t.rolname = $1 AND r.rolname LIKE 'kontext%' ORDER BY 1`,
        [templateRole],
      );
      return rows.map(({ rolname }) => String(rolname));
    },
    close: async () => {
      await sql(`DROP OWNED BY "${templateRole}", ${adminRole}; DROP ROLE "${templateRole}", ${adminRole}`);
      await cluster.stop();
    },
  };
}
