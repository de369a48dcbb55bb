import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addHooks, ownedHooks, removeHooks } from './hook-entries.ts';

const ours = (name: string) => ({ type: 'command', command: '/opt/kontext-hook', args: ['ours', name] });
const isOwned = (entry: unknown): boolean =>
  (entry as { args?: readonly string[] } | null)?.args?.[0] === 'ours';
const wanted = { PreToolUse: [ours('a')], Stop: [ours('b')] };

describe('hooks in the text of settings', () => {
  it('makes a file where there is none', () => {
    const text = addHooks('', wanted, isOwned);

    expect(JSON.parse(text)).toEqual({
      hooks: { PreToolUse: [{ hooks: [ours('a')] }], Stop: [{ hooks: [ours('b')] }] },
    });
    expect(text.split('\n')[1]).toBe('  "hooks": {');
    expect(text.endsWith('}\n')).toBe(true);
  });

  it('keeps every byte of what others wrote, and gives it back', () => {
    const text =
      '{\r\n\t"model": "opus",\r\n\t"b": 1.0e1, "2": "\\u00e9",\r\n\t"hooks": {\r\n\t\t"PreToolUse": [ { "matcher": "Bash", "hooks": [ {"type":"command","command":"x"} ] } ]\r\n\t},\r\n\t"1": true\r\n}';

    const added = addHooks(text, wanted, isOwned);

    expect(added).toContain('"b": 1.0e1, "2": "\\u00e9"');
    expect(added.replaceAll('\r\n', '')).not.toContain('\n');
    expect(JSON.parse(added).hooks.PreToolUse).toHaveLength(2);
    expect(Object.keys(JSON.parse(added).hooks)).toEqual(['PreToolUse', 'Stop']);
    expect(removeHooks(added, isOwned)).toBe(text);
  });

  it('stays on one line where the file does', () => {
    const added = addHooks('{"a":1}', wanted, isOwned);

    expect(added).not.toContain('\n');
    expect(removeHooks(added, isOwned)).toBe('{"a":1}');
  });

  it('changes nothing the second time', () => {
    const once = addHooks('{\n    "a": 1\n}\n', wanted, isOwned);

    expect(addHooks(once, wanted, isOwned)).toBe(once);
  });

  it('replaces what an earlier version wrote, and nothing else', () => {
    const theirs = { type: 'command', command: 'y' };
    const before = JSON.stringify(
      { hooks: { Stop: [{ hooks: [theirs, ours('old')] }, { hooks: [ours('old')] }] } },
      null,
      2,
    );

    const after = addHooks(before, wanted, isOwned);

    expect(ownedHooks(after, isOwned)).toEqual(wanted);
    expect(JSON.parse(after).hooks.Stop[0]).toEqual({ hooks: [theirs] });
    expect(JSON.parse(removeHooks(before, isOwned))).toEqual({ hooks: { Stop: [{ hooks: [theirs] }] } });
  });

  it('leaves no group without hooks, which the agent would refuse', () => {
    const text =
      '{"hooks":{"Stop":[{"matcher":"x","hooks":[{"args":["ours"]}]},{"hooks":[{"command":"y"}]}]}}';

    expect(removeHooks(text, isOwned)).toBe('{"hooks":{"Stop":[{"hooks":[{"command":"y"}]}]}}');
  });

  it.each([
    ['no JSON', '{"a": 1,}'],
    ['JSON with comments', '{ // mine\n}'],
    ['a list', '[]'],
    ['hooks that are a list', '{"hooks": []}'],
    ['hooks of an event that are no list', '{"hooks": {"Stop": {}}}'],
    ['an env that is no object', '{"env": 1}'],
    ['nesting without end', '['.repeat(10_000)],
  ])('refuses %s', (_name, text) => {
    expect(() => addHooks(text, wanted, isOwned)).toThrow(
      expect.objectContaining({ code: 'KX_AGENT_SETTINGS_INVALID' }),
    );
  });

  it('whatever the settings hold, setup and uninstall give back the same bytes', () => {
    const settings = fc.dictionary(
      fc.string().filter((key) => key !== 'hooks' && key !== 'env'),
      fc.jsonValue(),
    );
    const theirs = fc.dictionary(
      fc.constantFrom('PreToolUse', 'Stop', 'SessionEnd'),
      fc.array(fc.record({ hooks: fc.array(fc.record({ command: fc.string() }), { minLength: 1 }) }), {
        minLength: 1,
      }),
      { minKeys: 1 },
    );
    const layout = fc.constantFrom(undefined, 2, 4, '\t');
    fc.assert(
      fc.property(settings, fc.option(theirs), layout, (rest, hooks, indent) => {
        const value = hooks === null ? rest : { ...rest, hooks };
        const text = JSON.stringify(value, null, indent);
        const added = addHooks(text, wanted, isOwned);
        expect(ownedHooks(added, isOwned)).toEqual(wanted);
        expect(JSON.parse(removeHooks(added, isOwned))).toEqual(JSON.parse(text));
        if (Object.keys(value).length > 0) expect(removeHooks(added, isOwned)).toBe(text);
      }),
    );
  });
});
