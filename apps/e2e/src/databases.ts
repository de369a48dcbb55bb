/** The two databases a backend runs on, for stories that have to hold on both, and a look behind its back. */
import { dirname, join } from 'node:path';
import {
  findPostgresBinaries,
  type PostgresCluster,
  partState,
  runCommandOrThrow,
  startPostgresCluster,
} from '@kontext/testkit';

/** The databases a backend runs on. */
export type DatabaseKind = 'the embedded database' | 'Postgres';

/** Rows of `describe.each`: the kind, and why it is skipped, empty when it is not. */
export const databaseKinds: readonly (readonly [DatabaseKind, string])[] = [
  ['the embedded database', ''],
  ['Postgres', partState('postgres').reason],
];

/** One database for one world. */
export interface StoryDatabase {
  /** Absent for the embedded one. */
  readonly url: string | undefined;
  close(): Promise<void>;
}

/** Makes an empty database of a kind. */
export async function openDatabase(kind: DatabaseKind): Promise<StoryDatabase> {
  if (kind === 'the embedded database') return { url: undefined, close: async () => undefined };
  const cluster: PostgresCluster = await startPostgresCluster();
  const { url } = await cluster.createDatabase();
  return { url, close: () => cluster.stop() };
}

/**
 * Runs statements as the superuser, as an intruder in the database would.
 *
 * @param timeoutMs Default a minute.
 * @returns rows as `|`-separated lines.
 */
export async function sql(url: string, statements: string, timeoutMs = 60_000): Promise<string[]> {
  const args = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', url, '-c', statements];
  const { stdout } = await runCommandOrThrow(program('psql'), args, { timeoutMs });
  return stdout.split('\n').filter(Boolean);
}

/** Everything in a database, as text. */
export async function dumpDatabase(url: string): Promise<string> {
  const { stdout } = await runCommandOrThrow(program('pg_dump'), ['-d', url]);
  return stdout;
}

/** Path of a client program, such as `psql`; they lie beside the server's. */
export function program(name: string): string {
  const binaries = findPostgresBinaries();
  return binaries === null ? name : join(dirname(binaries.initdb), name);
}
