import { readdir, readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type CallReader,
  createCallReader,
  createPolicyEngine,
  type ExampleResult,
  type LoadedPolicy,
  type PolicyEngine,
  runExamples,
  type SourceFile,
  starterPolicies,
  starterSources,
} from './index.ts';

/** The packs in the order of the set: of several rules that forbid a part alike, the first is named. */
const packs = [
  ...['opaque', 'destructive', 'secrets', 'agents', 'exfiltration'],
  ...['git-history', 'cloud', 'databases', 'publishing', 'payments'],
];

let engine: PolicyEngine;
let reader: CallReader;
let whole: LoadedPolicy;
beforeAll(async () => {
  engine = await createPolicyEngine();
  reader = await createCallReader();
  whole = load(starterSources);
});

const directory = new URL('../policies/', import.meta.url);
const readPolicyFile = async (name: string): Promise<SourceFile> => ({
  name,
  text: await readFile(new URL(name, directory), 'utf8'),
});
const load = (sources: readonly SourceFile[]) =>
  engine.load({ version: 1, policies: engine.parseSources(sources).policies });
const problems = (results: readonly ExampleResult[]) =>
  results.filter(({ passed }) => !passed).map(({ name, problem }) => `${name} -> ${problem}`);

describe('the starter packs', () => {
  it('are the files of the folder, each with examples beside it', async () => {
    const files = await readdir(directory);

    const expected = packs.flatMap((pack) => [`${pack}.cedar`, `${pack}.examples.json`]);
    expect(files.toSorted()).toEqual([...expected, 'harmless.examples.json'].toSorted());
  });

  // Regenerate the module after changing a file: `npx vitest run packages/policy/src/starter-policies.test.ts -u`.
  it('are the same as a TypeScript module and as plain files', async () => {
    const files = await Promise.all(packs.map((pack) => readPolicyFile(`${pack}.cedar`)));

    await expect(toModule(files)).toMatchFileSnapshot('./starter-sources.ts');
  });

  it('are split into the policies that Cedar finds in them', () => {
    expect(starterPolicies).toEqual(engine.parseSources(starterSources).policies);
  });

  it('have no finding of the lint', () => {
    expect(engine.lint(starterSources)).toEqual([]);
  });

  it('say of every rule why, in words that go on after "denied:"', () => {
    for (const { id, text } of starterPolicies) {
      expect(text, id).toMatch(/^@id\("starter\.[a-z-]+"\)\n(?:@effect\("ask"\)\n)?@reason\("it /);
    }
  });

  it.each(packs)('decide the examples of %s as they say, all together', async (pack) => {
    const results = runExamples(engine, whole, reader, await readPolicyFile(`${pack}.examples.json`));

    expect(problems(results)).toEqual([]);
  });

  it.each(packs)('decide the examples of %s the same when it is the only pack', async (pack) => {
    const alone = load([await readPolicyFile(`${pack}.cedar`)]);

    const results = runExamples(engine, alone, reader, await readPolicyFile(`${pack}.examples.json`));

    expect(problems(results)).toEqual([]);
  });

  it.each(packs)('have four examples for and against every rule of %s', async (pack) => {
    const rules = engine.parseSources([await readPolicyFile(`${pack}.cedar`)]).policies;
    const { examples } = JSON.parse((await readPolicyFile(`${pack}.examples.json`)).text) as {
      examples: { name: string; rule: string | null }[];
    };

    for (const { id } of rules) {
      const short = id.replace('starter.', '');
      const matching = examples.filter((example) => example.rule === id);
      const sparing = examples.filter(({ name, rule }) => name.startsWith(`not ${short}: `) && rule === null);
      expect({ id, matching: matching.length >= 4, sparing: sparing.length >= 4 }).toEqual({
        ...{ id, matching: true, sparing: true },
      });
    }
  });

  it('let everyday work pass', async () => {
    const results = runExamples(engine, whole, reader, await readPolicyFile('harmless.examples.json'));

    expect(results.length).toBeGreaterThan(80);
    expect(results.every(({ decision }) => decision.effect === 'allow')).toBe(true);
    expect(problems(results)).toEqual([]);
  });
});

/** The module as the formatter leaves it: texts are multi-line template literals. */
function toModule(files: readonly SourceFile[]): string {
  const quote = (text: string) => `\`${text.replace(/[\\`]|\$(?=\{)/g, '\\$&')}\``;
  const entries = files.map(
    ({ name, text }) => `  {\n    name: '${name}',\n    text: ${quote(text)},\n  },\n`,
  );
  return `import type { SourceFile } from './parse-sources.ts';

/** The files of \`policies/\` as they are written, generated from them: a bundle has no file to read. */
export const starterSources: readonly SourceFile[] = [
${entries.join('')}];
`;
}
