import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { createProgram } from './commands/program.ts';
import { loadConfig, settings } from './config.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const compose = read('docker-compose.yml');

/** The lines of one service, by indentation: the file is ours and plain. */
function serviceOf(name: string): string {
  const [, block] = new RegExp(`^  ${name}:\\n((?:    .*\\n|\\n)+)`, 'm').exec(compose) ?? [];
  if (block === undefined) throw new Error(`there is no service ${name}`);
  return block;
}

/** A name without a value is taken from the shell, where that has it. */
const environment = [...serviceOf('migrate').matchAll(/^ {6}([A-Z][A-Z0-9_]*):(?: (.*))?$/gm)].map(
  ([, name = '', value]) => [name, value] as const,
);
const commandNames = createProgram({ print: () => undefined, serve: async () => undefined }).commands.map(
  (command) => command.name(),
);

describe('docker-compose.yml', () => {
  test('sets only what the backend reads', () => {
    const known = settings.map(({ name }) => name);
    expect(environment.length).toBeGreaterThan(3);
    for (const [name] of environment) expect(known).toContain(name);
  });

  test('passes on what takes the place of the key file', () => {
    const passedOn = environment.filter(([, value]) => value === undefined).map(([name]) => name);
    expect(passedOn).toEqual(expect.arrayContaining(['KONTEXT_KMS_KEYS', 'KONTEXT_VAULT_ADDR']));
  });

  test('gives a configuration outside local mode that can be used', () => {
    const values: Readonly<Record<string, string>> = {
      POSTGRES_PASSWORD: 'x',
      KONTEXT_PUBLIC_URL: 'https://kontext.example.com',
    };
    const env = environment.map(([name, value]) => [
      name,
      value?.replace(/\$\{([A-Z_]+)(:[-?][^}]*)?\}/g, (_, variable: string) => values[variable] ?? ''),
    ]);
    const config = loadConfig(Object.fromEntries(env));
    expect(config).toMatchObject({ local: false, apiUrl: 'https://kontext.example.com', trustedProxies: [] });
    expect(serviceOf('backend')).toContain(`:${config.listen.port}'`);
    const directory = config.kekFile?.replace(/\/[^/]+$/, '') ?? '';
    expect(serviceOf('migrate')).toContain(`- keys:${directory}\n`);
    // A volume takes owner and mode of the image's directory; the backend does not run as root.
    expect(read('apps/backend/Dockerfile')).toMatch(new RegExp(`install -d -o node .* ${directory}\\b`));
  });

  test('runs commands that exist, also those it tells people to type', () => {
    const run = [...compose.matchAll(/command: \['([a-z]+)'\]/g)].map(([, name]) => name);
    const typed = [...compose.matchAll(/docker compose run .* backend ([a-z]+) /g)].map(([, name]) => name);
    expect(run).toEqual(['migrate', 'serve']);
    expect(typed).toEqual(['keys', 'org', 'idp']);
    expect(commandNames).toEqual(expect.arrayContaining([...run, ...typed]));
  });
});
