import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { cedarSchema } from './cedar-schema.ts';
import {
  type CallReader,
  createCallReader,
  createPolicyEngine,
  type LoadedPolicy,
  type PolicyEngine,
  runExamples,
} from './index.ts';

const page = await readFile(new URL('../../../docs/policy.md', import.meta.url), 'utf8');
const [manual = '', cookbook = ''] = page.split('\n## Cookbook\n');

/** A recipe: its heading, its rules, and its examples. */
const recipes = cookbook
  .split('\n### ')
  .slice(1)
  .map((section) => {
    const [title = ''] = section.split('\n');
    return { title, cedar: blocks(section, 'cedar'), examples: blocks(section, 'json') };
  });

function blocks(markdown: string, language: string): readonly string[] {
  return [...markdown.matchAll(/```(\w+)\n([\s\S]*?)```/g)]
    .filter(([, named]) => named === language)
    .map(([, , text]) => text ?? '');
}

let engine: PolicyEngine;
let reader: CallReader;
beforeAll(async () => {
  engine = await createPolicyEngine();
  reader = await createCallReader();
});

const load = (text: string): LoadedPolicy =>
  engine.load({ version: 1, policies: engine.parseSources([{ name: 'recipe.cedar', text }]).policies });

describe('the cookbook of docs/policy.md', () => {
  it('has a dozen recipes, each one block of rules', () => {
    expect(recipes.length).toBeGreaterThanOrEqual(12);
    expect(recipes.filter(({ cedar }) => cedar.length !== 1)).toEqual([]);
  });

  it.each(recipes)('lints: $title', ({ cedar: [text = ''] }) => {
    expect(engine.lint([{ name: 'recipe.cedar', text }])).toEqual([]);
  });

  it.each(recipes)('decides what it says: $title', ({ cedar: [text = ''], examples }) => {
    const [file = ''] = examples;

    const results = runExamples(engine, load(text), reader, { name: 'examples', text: file });

    expect(results.filter(({ passed }) => !passed).map(({ name, problem }) => [name, problem])).toEqual([]);
    expect(results.some(({ decision }) => decision.rule !== null)).toBe(true);
    expect(results.some(({ decision }) => decision.rule === null)).toBe(true);
  });

  it('has examples of every recipe', () => {
    expect(recipes.filter(({ examples }) => examples.length === 0).map(({ title }) => title)).toEqual([]);
  });

  it('marks as sensitive what must not run on an old policy', () => {
    const recipe = recipes.find(({ title }) => title === 'What must not run on an old policy');
    const [file = ''] = recipe?.examples ?? [];

    const [first, second] = runExamples(engine, load(recipe?.cedar[0] ?? ''), reader, {
      name: 'examples',
      text: file,
    });

    expect(first?.decision).toMatchObject({ effect: 'allow', sensitive: true });
    expect(second?.decision).toMatchObject({ effect: 'allow', sensitive: false });
  });
});

describe('the rules of docs/approvals.md', () => {
  it('lint', async () => {
    const approvals = await readFile(new URL('../../../docs/approvals.md', import.meta.url), 'utf8');
    const rules = blocks(approvals, 'cedar');

    expect(rules).not.toEqual([]);
    for (const text of rules) expect(engine.lint([{ name: 'rule.cedar', text }])).toEqual([]);
  });
});

describe('the manual of docs/policy.md', () => {
  it('parses, lints and decides as its first examples say', () => {
    const [text = ''] = blocks(manual, 'cedar');
    const [file = ''] = blocks(manual, 'json');

    expect(engine.lint([{ name: 'first.cedar', text }])).toEqual([]);
    const results = runExamples(engine, load(text), reader, { name: 'examples', text: file });
    expect(results.map(({ problem }) => problem)).toEqual(['', '']);
  });

  it('names every attribute of the schema, and no other', () => {
    const inSchema = namesOf(cedarSchema);
    const inTables = new Set(
      [...manual.matchAll(/^\| ((?:`\w+`(?:, )?)+) \| (?:`[A-Z]\w+`|[a-z])/gm)].flatMap(([, cell = '']) =>
        [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
      ),
    );
    const inText = new Set([...manual.matchAll(/`([a-z]\w*)`/g)].map(([, name = '']) => name));

    expect([...inSchema].filter((name) => !inText.has(name))).toEqual([]);
    const known = new Set([
      ...inSchema,
      ...[
        'tool_call',
        'credential_use',
        'session_start',
        'unreadable',
        'malformed',
        'unparsed',
        'dynamic',
        'clipped',
      ],
    ]);
    expect([...inTables].filter((name) => !known.has(name))).toEqual([]);
  });

  it('names every action, entity and cause of the schema', () => {
    const named = [...cedarSchema.matchAll(/^(?:entity|action) "?(\w+)/gm)].map(([, name = '']) => name);
    const causes = ['unreadable', 'malformed', 'unparsed', 'dynamic', 'clipped'];

    expect(named.length).toBeGreaterThan(10);
    for (const name of [...named, ...causes]) expect(manual).toMatch(new RegExp(`[\`:| ]${name}\\b`));
  });
});

/** Names of the attributes of entities and of the members of contexts. */
function namesOf(schema: string): ReadonlySet<string> {
  const plain = schema.replaceAll(/\/\/[^\n]*/g, '');
  return new Set(
    [...plain.matchAll(/(\w+): (?:String|Bool|Long|datetime|Set<)/g)].map(([, name = '']) => name),
  );
}
