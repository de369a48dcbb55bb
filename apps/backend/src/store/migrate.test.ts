import { expect, test } from 'vitest';
import { type MigrationConnection, migrate, readSchemaState } from './migrate.ts';

const first = { name: '0000_first', text: 'CREATE TABLE a ()' };
const second = { name: '0001_second', text: 'CREATE TABLE b ()' };

/** A database that knows nothing but the table of migrations. */
function fakeConnection() {
  const applied: { name: string; hash: string }[] = [];
  const executed: string[] = [];
  const connection: MigrationConnection = {
    exec: async (text) => void executed.push(text),
    query: async (text, params = []) => {
      if (text.startsWith('INSERT')) applied.push({ name: String(params[0]), hash: String(params[1]) });
      if (text.includes('to_regclass')) return [{ known: applied.length > 0 }];
      return text.startsWith('SELECT name') ? applied : [];
    },
  };
  return { connection, executed, applied };
}

test('runs what is missing, in order, and nothing twice', async () => {
  const { connection, executed } = fakeConnection();
  expect(await migrate(connection, [first])).toBe(1);
  expect(await migrate(connection, [first, second])).toBe(1);
  expect(await migrate(connection, [first, second])).toBe(0);
  expect(executed.filter((text) => text.startsWith('CREATE TABLE ') && !text.includes('IF NOT'))).toEqual([
    first.text,
    second.text,
  ]);
});

test('refuses a database whose applied migration has another text', async () => {
  const { connection } = fakeConnection();
  await migrate(connection, [first]);
  const changed = migrate(connection, [{ ...first, text: 'CREATE TABLE c ()' }, second]);
  await expect(changed).rejects.toMatchObject({ code: 'KX_STORE_SCHEMA_OLD' });
});

test('tells an empty, an old, a current and a newer schema apart', async () => {
  const { connection } = fakeConnection();
  expect((await readSchemaState(connection, [first])).state).toBe('empty');
  await migrate(connection, [first]);
  expect(await readSchemaState(connection, [first, second])).toMatchObject({
    state: 'old',
    missing: [second.name],
  });
  await migrate(connection, [first, second]);
  expect((await readSchemaState(connection, [first, second])).state).toBe('current');
  expect((await readSchemaState(connection, [first])).state).toBe('new');
});
