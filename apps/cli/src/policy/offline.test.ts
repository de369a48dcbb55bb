import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestContext, type TestContext } from '../test-context.ts';
import { testExamples } from './test-examples.ts';
import { validate } from './validate.ts';

let context: TestContext;
beforeEach(() => {
  context = createTestContext();
});
afterEach(() => context.close());

const rule = (id: string, tool: string, effect = 'deny') => `@id("${id}")
@effect("${effect}")
@reason("because ${id}")
forbid (principal, action == Action::"tool_call", resource)
when { context.tool == "${tool}" };
`;
const write = (path: string, text: string | Buffer): void => {
  mkdirSync(join(context.home, path, '..'), { recursive: true });
  writeFileSync(join(context.home, path), text);
};
const withCode = (code: string) => expect.objectContaining({ code });

describe('policy validate', () => {
  it('says that files can be published, and counts their rules', async () => {
    write('policies/b.cedar', rule('b', 'B'));
    write('policies/a.cedar', `${rule('a', 'A')}\n${rule('c', 'C')}`);
    write('policies/README.md', 'not a policy');

    expect(await validate(context, [], false)).toBe(0);

    expect(context.stdout()).toBe('');
    expect(context.stderr()).toContain('3 rules in 2 files can be published');
  });

  it('names file, line and column of what is wrong, and ends with 65', async () => {
    write('policies/a.cedar', `${rule('a', 'A')}\n// a comment\nforbid (principal, action, resource);\n`);
    write('policies/b.cedar', 'forbid (principal;');

    expect(await validate(context, ['policies'], false)).toBe(65);

    const lines = context.stdout().trimEnd().split('\n');
    expect(lines[0]).toMatch(/^policies\/a\.cedar:8:1: error: .*\(missing-id\); /);
    expect(lines[1]).toMatch(/^policies\/b\.cedar:1:\d+: error: .*\(unparsable\)/);
    expect(context.stderr()).toContain('2 errors in 2 files');
  });

  it('tells programs the same as one document', async () => {
    write('one.cedar', rule('a', 'A'));
    write('two.cedar', rule('a', 'A'));

    expect(await validate(context, ['one.cedar', 'two.cedar'], true)).toBe(65);

    const { findings, ...facts } = JSON.parse(context.stdout());
    expect(facts).toEqual({ ok: false, files: 2, rules: 1 });
    expect(findings[0]).toMatchObject({
      ...{ error: true, check: 'duplicate-id', file: 'two.cedar', line: 1, column: 1, rule: 'a' },
    });
  });

  it.each([
    ['a file that is not there', ['missing.cedar'], 'there is no such file'],
    ['a name that cannot be stored', ['Bad Name.cedar'], 'its name is not like force-push.cedar'],
    ['a file of another kind', ['notes.txt'], 'its name is not like force-push.cedar'],
    ['text that is no UTF-8', ['latin.cedar'], 'it is not valid UTF-8'],
    ['a file that never ends', ['endless.cedar'], 'larger than 1 MiB'],
    ['an empty directory', ['empty'], 'there is no .cedar file in empty'],
    ['two files of one name', ['a.cedar', 'other/a.cedar'], 'two policy files are called a.cedar'],
    ['no directory at all', [], 'policies cannot be read: there is no such file'],
  ])('refuses %s', async (_what, paths, says) => {
    write('Bad Name.cedar', rule('a', 'A'));
    write('notes.txt', 'x');
    write('a.cedar', rule('a', 'A'));
    write('other/a.cedar', rule('b', 'B'));
    write('latin.cedar', Buffer.from([0xe9, 0x0a]));
    symlinkSync('/dev/zero', join(context.home, 'endless.cedar'));
    mkdirSync(join(context.home, 'empty'));

    const failure = await validate(context, paths, false).catch((error: unknown) => error);

    expect(failure).toEqual(withCode('KX_POLICY_UNREADABLE'));
    expect(`${(failure as Error).message}: ${(failure as { why: string }).why}`).toContain(says);
  });

  it('refuses more than 100 files, and more than 1 MiB together', async () => {
    for (let n = 0; n < 101; n += 1) write(`many/${n}.cedar`, '');
    for (let n = 0; n < 3; n += 1) write(`large/${n}.cedar`, `// ${'x'.repeat(400_000)}`);
    await expect(validate(context, ['many'], false)).rejects.toThrow('more than 100 policy files');
    await expect(validate(context, ['large'], false)).rejects.toThrow('larger than 1 MiB together');
  });
});

describe('policy test', () => {
  const example = (name: string, tool: string, effect: string, more = {}) => ({
    ...{ name, effect, call: { tool }, ...more },
  });
  const examples = (...list: object[]) => JSON.stringify({ v: 1, examples: list });

  it('prints what passed and what did not, and ends with 1 when one failed', async () => {
    write('p/a.cedar', rule('a', 'A') + rule('asks', 'Q', 'ask'));
    write('p/a.examples.json', examples(example('denied', 'A', 'deny', { rule: 'a' })));
    write('p/b.examples.json', examples(example('asked #1', 'Q', 'ask'), example('free', 'A', 'allow')));

    expect(await testExamples(context, ['p'], { policies: ['p'] })).toBe(1);

    expect(context.stdout().split('\n')).toEqual([
      'TAP version 14',
      '1..3',
      'ok 1 - p/a.examples.json: denied',
      'ok 2 - p/b.examples.json: asked \\#1',
      'not ok 3 - p/b.examples.json: free',
      '  ---',
      '  message: "expected allow, got deny by a"',
      '  ...',
      '',
    ]);
    expect(context.stderr()).toContain('1 of 3 examples failed');
  });

  it('takes the starter rules where no policy is named', async () => {
    write('x.examples.json', examples(example('reading is free', 'Read', 'allow', { rule: null })));
    expect(await testExamples(context, ['x.examples.json'], { json: true })).toBe(0);
    expect(JSON.parse(context.stdout())).toEqual({
      ok: true,
      examples: [
        {
          ...{ file: 'x.examples.json', name: 'reading is free', passed: true, problem: '' },
          ...{ effect: 'allow', rule: null, part: null, reason: 'no rule forbids it' },
        },
      ],
    });
  });

  it('ends with 65 when a policy cannot be loaded, naming the place', async () => {
    write('bad.cedar', '\nforbid (principal;');
    write('x.examples.json', examples(example('x', 'X', 'allow')));
    expect(await testExamples(context, ['x.examples.json'], { policies: ['bad.cedar'] })).toBe(65);
    expect(context.stdout()).toMatch(/^bad\.cedar:2:\d+: error: /);
  });

  it('refuses examples that are not there, or not examples', async () => {
    write('x.examples.json', '{"v":1,"examples":[{"name":5}]}');
    mkdirSync(join(context.home, 'none'));
    const run = (path: string) => testExamples(context, [path], {});
    await expect(run('x.examples.json')).rejects.toEqual(withCode('KX_EXAMPLES_INVALID'));
    await expect(run('gone.examples.json')).rejects.toEqual(withCode('KX_POLICY_UNREADABLE'));
    await expect(run('none')).rejects.toEqual(withCode('KX_USAGE'));
  });
});
