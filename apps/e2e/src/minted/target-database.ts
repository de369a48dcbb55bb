import { partState, startPostgresCluster } from '@kontext/testkit';
import { sql } from '../databases.ts';

/** A Postgres an organisation has, and what it takes to lease roles in it; as docs/minted-credentials.md says. */
export interface TargetDatabase {
  /** What `kontext providers add postgres` gets on standard input. */
  readonly adminUrl: string;
  /** What it gets as `--settings`. */
  readonly settings: string;
  /** Leased roles that exist. */
  leasedRoles(): Promise<string[]>;
  close(): Promise<void>;
}

/** Why the stories are skipped; empty when they are not. */
export const skipped = partState('postgres').reason;

/** Sets it up: a table, a template role that may read it, an administrator that is no superuser. */
export async function openTargetDatabase(): Promise<TargetDatabase> {
  const cluster = await startPostgresCluster();
  const { name, url } = await cluster.createDatabase();
  const [readers, admin] = [`readers_${name}`, `leaser_${name}`];
  await sql(
    url,
    `CREATE TABLE invoices (note text); INSERT INTO invoices VALUES ('paid');
     CREATE ROLE ${readers} NOLOGIN; GRANT SELECT ON invoices TO ${readers};
     CREATE ROLE ${admin} LOGIN CREATEROLE PASSWORD 'only-for-leasing';
     GRANT ${readers} TO ${admin} WITH ADMIN OPTION;`,
  );
  return {
    adminUrl: `postgres://${admin}:only-for-leasing@127.0.0.1:${cluster.port}/${name}`,
    settings: JSON.stringify({
      databases: { 'prod-readonly': { database: name, role: readers } },
      tls: 'off',
    }),
    leasedRoles: () =>
      sql(
        url,
        `SELECT r.rolname FROM pg_auth_members m JOIN pg_roles t ON t.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
         WHERE t.rolname = '${readers}' AND r.rolname LIKE 'kontext%'`,
      ),
    close: async () => {
      await sql(url, `DROP OWNED BY ${readers}, ${admin}; DROP ROLE ${readers}, ${admin}`);
      await cluster.stop();
    },
  };
}
