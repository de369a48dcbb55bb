import { createHash } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { embeddedMigrations } from './migrations/embedded.ts';

/** One connection, inside a transaction, as the connecting user. */
export interface MigrationConnection {
  exec(text: string): Promise<void>;
  query(text: string, params?: readonly unknown[]): Promise<Record<string, unknown>[]>;
}

/** One migration: `name` orders it and is its identity, `text` is the file. */
export interface Migration {
  readonly name: string;
  readonly text: string;
}

/** Names the migrations of this build; two builds with the same id have the same schema. */
export const migrationsId: string = createHash('sha256')
  .update(JSON.stringify(embeddedMigrations))
  .digest('hex')
  .slice(0, 16);

/** `old`: migrations of this build are missing; `new`: the database has migrations this build does not know. */
export interface SchemaState {
  readonly state: 'empty' | 'old' | 'current' | 'new';
  readonly applied: readonly string[];
  readonly missing: readonly string[];
}

/**
 * Runs the migrations that are missing, in order, all in the caller's transaction.
 *
 * The advisory lock ends with the transaction: session locks break behind poolers. A second process waits for it, then finds
 * nothing to do.
 *
 * @returns How many ran.
 * @throws KontextError `KX_STORE_SCHEMA_OLD` when an applied migration has another text than this build's.
 */
export async function migrate(
  connection: MigrationConnection,
  migrations: readonly Migration[] = embeddedMigrations,
): Promise<number> {
  await connection.query(`SELECT pg_advisory_xact_lock(hashtextextended('kontext.migrate', 0))`);
  await connection.exec(
    'CREATE TABLE IF NOT EXISTS kontext_migrations (name text PRIMARY KEY, hash text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())',
  );
  const applied = await readApplied(connection);
  let ran = 0;
  for (const { name, text } of migrations) {
    const known = applied.get(name);
    if (known !== undefined) {
      checkUnchanged(name, known, text);
      continue;
    }
    await runStatements(connection, text);
    await connection.query('INSERT INTO kontext_migrations (name, hash) VALUES ($1, $2)', [
      name,
      hashOf(text),
    ]);
    ran += 1;
  }
  return ran;
}

/**
 * Statements that write rows run as `kontext_system`: row-level security binds the owner of the tables too, who would read no
 * rows and lose what they say without a word.
 */
async function runStatements(connection: MigrationConnection, text: string): Promise<void> {
  const statements = text.split('--> statement-breakpoint');
  if (!statements.some(writesRows)) return connection.exec(text);
  for (const statement of statements) {
    if (writesRows(statement)) await connection.exec('SET LOCAL ROLE kontext_system');
    await connection.exec(statement);
    if (writesRows(statement)) await connection.exec('RESET ROLE');
  }
}

const writesRows = (statement: string): boolean =>
  /^(?:\s|--[^\n]*\n)*(?:INSERT|UPDATE|DELETE)\b/i.test(statement);

/** Compares what was applied with what this build carries. Changes nothing. */
export async function readSchemaState(
  connection: MigrationConnection,
  migrations: readonly Migration[] = embeddedMigrations,
): Promise<SchemaState> {
  const [row] = await connection.query(`SELECT to_regclass('kontext_migrations') IS NOT NULL AS known`);
  const applied = row?.known === true ? [...(await readApplied(connection)).keys()] : [];
  const names = migrations.map(({ name }) => name);
  const missing = names.filter((name) => !applied.includes(name));
  const unknown = applied.some((name) => !names.includes(name));
  const state = applied.length === 0 ? 'empty' : missing.length > 0 ? 'old' : unknown ? 'new' : 'current';
  return { state, applied, missing };
}

async function readApplied(connection: MigrationConnection): Promise<Map<string, string>> {
  const rows = await connection.query('SELECT name, hash FROM kontext_migrations ORDER BY name');
  return new Map(rows.map((row) => [String(row.name), String(row.hash)]));
}

function checkUnchanged(name: string, hash: string, text: string): void {
  if (hash === hashOf(text)) return;
  throw new KontextError('KX_STORE_SCHEMA_OLD', `the migration ${name} was applied with another text`, {
    why: 'the database was made by another build of the same version',
    hint: 'install the build that made it, or start with an empty database',
  });
}

const hashOf = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
