import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { startServer, stopServer } from './server.ts';
import { loadSharedServer } from './shared-server.ts';

/** A database made once per test run (usually: migrated) and then copied for every file that wants it. */
export interface DatabaseTemplate {
  /** Lower-case letters, digits and `_`; the same name means the same content within one run. */
  readonly name: string;
  /** Fills the empty database; must close every connection it opened, or the copy is refused. */
  readonly build: (url: string) => Promise<void>;
}

/** One throw-away database; `drop` is optional, `stop` of the cluster drops what is left. */
export interface TestDatabase {
  readonly name: string;
  /** `postgres://…@127.0.0.1:port/name`, the cluster's superuser. */
  readonly url: string;
  drop(): Promise<void>;
}

/** A running throw-away Postgres. */
export interface PostgresCluster {
  readonly port: number;
  /** URL of the maintenance database, superuser. */
  readonly adminUrl: string;
  createDatabase(options?: { readonly template?: DatabaseTemplate }): Promise<TestDatabase>;
  /** Drops the databases made through this handle; a server of our own is stopped too, a shared one lives on to the end of the run. */
  stop(): Promise<void>;
}

/**
 * Starts a throw-away Postgres 15+ from the machine's own programs, on a random loopback port.
 *
 * Within one vitest run all files share one server, each with databases of its own. Roles belong to the whole server:
 * two files that create the same role name meet each other.
 *
 * @param options `own: true` always starts a separate server (for tests that stop it); `durable: true` does so with fsync on.
 * @throws Error when the machine has no Postgres 15+; ask `partState('postgres')` first to skip with a reason.
 */
export async function startPostgresCluster(
  options: { readonly own?: boolean; readonly durable?: boolean } = {},
): Promise<PostgresCluster> {
  const separate = options.own === true || options.durable === true;
  const shared = separate ? null : await loadSharedServer();
  const server = shared ?? (await startServer(process.pid, options.durable === true));
  const databases = new Map<string, TestDatabase>();
  const urlOf = (name: string) => `postgres://postgres:${server.password}@127.0.0.1:${server.port}/${name}`;
  return {
    port: server.port,
    adminUrl: urlOf('postgres'),
    createDatabase: async ({ template } = {}) => {
      const name = `t_${randomBytes(6).toString('hex')}`;
      const source = template === undefined ? 'template0' : await ensureTemplate(urlOf, template);
      await withAdmin(urlOf('postgres'), (admin) =>
        admin.query(`CREATE DATABASE ${name} TEMPLATE ${source}`),
      );
      const drop = async () => {
        databases.delete(name);
        await withAdmin(urlOf('postgres'), (admin) =>
          admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
        );
      };
      const database: TestDatabase = { name, url: urlOf(name), drop };
      databases.set(name, database);
      return database;
    },
    stop: () => (shared === null ? stopServer(server) : dropAll(databases)),
  };
}

async function dropAll(databases: ReadonlyMap<string, TestDatabase>): Promise<void> {
  for (const database of [...databases.values()]) await database.drop();
}

async function withAdmin<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Builds the template unless another file of the run already did; the session-level advisory lock makes the others wait. */
async function ensureTemplate(urlOf: (name: string) => string, template: DatabaseTemplate): Promise<string> {
  if (!/^[a-z0-9_]{1,40}$/.test(template.name)) throw new Error(`bad template name: ${template.name}`);
  const ready = `template_${template.name}`;
  const building = `building_${template.name}`;
  await withAdmin(urlOf('postgres'), async (admin) => {
    await admin.query('SELECT pg_advisory_lock(hashtext($1))', [ready]);
    const found = await admin.query('SELECT 1 FROM pg_database WHERE datname = $1', [ready]);
    if (found.rowCount !== 0) return;
    await admin.query(`DROP DATABASE IF EXISTS ${building} WITH (FORCE)`);
    await admin.query(`CREATE DATABASE ${building} TEMPLATE template0`);
    await template.build(urlOf(building));
    // Only a complete template gets the name others look for.
    await admin.query(`ALTER DATABASE ${building} RENAME TO ${ready}`);
  });
  return ready;
}
