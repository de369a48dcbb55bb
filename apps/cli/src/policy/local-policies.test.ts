import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadLocalPolicies } from './local-policies.ts';

let configDir: string;
beforeEach(() => {
  configDir = mkdtempSync(join(tmpdir(), 'kontext-local-'));
});
afterEach(() => rmSync(configDir, { recursive: true, force: true }));

const write = (name: string, text: string): void => {
  mkdirSync(join(configDir, 'policy'), { recursive: true });
  writeFileSync(join(configDir, 'policy', name), text);
};
const rule = (id: string, effect = 'forbid', more = '') =>
  `@id("${id}")\n${more}${effect} (principal, action == Action::"tool_call", resource)\nwhen { context.tool == "X" };\n`;
const refused = (code: string, message: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(message) });

describe('local policy', () => {
  it('is none where the directory is missing or holds no policy', async () => {
    expect(await loadLocalPolicies(configDir)).toEqual([]);
    write('README.md', 'hello');
    expect(await loadLocalPolicies(configDir)).toEqual([]);
  });

  it('may deny, ask and mark as sensitive, under names of its own', async () => {
    write(
      'b.cedar',
      rule('asks', 'forbid', '@effect("ask") // forbid is below\n@reason("a // b (\\"permit\\")")\n'),
    );
    write(
      'a.cedar',
      `// permit nothing\n${rule('denies')}${rule('marks', 'forbid', '@effect("sensitive")\n')}`,
    );
    const ids = (await loadLocalPolicies(configDir)).map(({ id }) => id);
    expect(ids).toEqual(['local.denies', 'local.marks', 'local.asks']);
  });

  it('may not permit', async () => {
    write('a.cedar', rule('forbid-nothing', 'permit', '@reason("forbid")\n'));
    await expect(loadLocalPolicies(configDir)).rejects.toEqual(
      refused('KX_POLICY_INVALID', 'the rule forbid-nothing in'),
    );
  });

  it.each([
    ['what cannot be parsed', 'a.cedar', `${rule('a')}forbid (principal;`, 'KX_POLICY_INVALID', 'a.cedar:4:'],
    [
      'a rule without name',
      'a.cedar',
      'forbid (principal, action, resource);',
      'KX_POLICY_INVALID',
      'a.cedar:1:1',
    ],
    ['an effect nobody knows', 'a.cedar', rule('a', 'forbid', '@effect("allow")\n'), 'KX_POLICY_INVALID', ''],
    [
      'what does not fit the schema',
      'a.cedar',
      rule('a').replace('tool ==', 'tol =='),
      'KX_POLICY_INVALID',
      '',
    ],
    ['a file of another name', 'My rules.cedar', rule('a'), 'KX_POLICY_UNREADABLE', 'My rules.cedar'],
  ])('refuses %s, naming the place', async (_what, name, text, code, message) => {
    write(name, text);
    await expect(loadLocalPolicies(configDir)).rejects.toEqual(refused(code, message));
  });

  it('refuses a directory that cannot be read', async () => {
    writeFileSync(join(configDir, 'policy'), 'a file');
    await expect(loadLocalPolicies(configDir)).rejects.toEqual(
      refused('KX_POLICY_UNREADABLE', 'cannot be read'),
    );
  });
});
