import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const directory = join(import.meta.dirname, 'migrations');

test('the embedded migrations are the SQL files, byte for byte (update with `npx vitest run -u`)', async () => {
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
