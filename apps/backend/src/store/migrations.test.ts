import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import * as schema from './schema.ts';

const directory = join(import.meta.dirname, 'migrations');

test('the embedded migrations are the SQL files, byte for byte (update with `npx vitest run <this file> -u`)', async () => {
  const names = readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  const entries = names.map((name) => {
    const text = JSON.stringify(readFileSync(join(directory, name), 'utf8'));
    return `  { name: '${name.slice(0, -4)}', text: ${text} },\n`;
  });
  const module =
    '/** The SQL files of this directory, as the bundle carries them. Written by migrations.test.ts. */\n' +
    'export const embeddedMigrations: readonly { readonly name: string; readonly text: string }[] = [\n' +
    `${entries.join('')}];\n`;
  await expect(module).toMatchFileSnapshot('./migrations/embedded.ts');
});

test('the newest snapshot of drizzle-kit is the schema, so no migration was forgotten', async () => {
  const { generateDrizzleJson, generateMigration } = await import('drizzle-kit/api');
  const metas = readdirSync(join(directory, 'meta')).filter((name) => name.endsWith('_snapshot.json'));
  const newest = metas.sort().at(-1) ?? '';
  const before = JSON.parse(readFileSync(join(directory, 'meta', newest), 'utf8'));
  const wanted = generateDrizzleJson({ ...schema }, before.id);
  expect(await generateMigration(before, wanted)).toEqual([]);
});
