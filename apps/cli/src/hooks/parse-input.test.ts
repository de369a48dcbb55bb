import { describe, expect, it } from 'vitest';
import { isDeeperThan, parseInput } from './parse-input.ts';

const input = (head: Uint8Array | string, trueLength?: number) => {
  const bytes = Buffer.from(head as string);
  return { head: bytes, trueLength: trueLength ?? bytes.length };
};

describe('hook input', () => {
  it('is read as JSON', () => {
    expect(parseInput(input('{"a":["\\ud800","\\u0000"]}'))).toEqual({
      ok: true,
      value: { a: ['\ud800', '\0'] },
    });
  });

  it.each([
    ['clipped', input('{}', 1_048_577), 'it is over 1 MiB'],
    ['empty', input(''), 'it is empty'],
    ['truncated', input('{"tool_name":"Ba'), 'it is not JSON'],
    ['not JSON', input('hello'), 'it is not JSON'],
    ['not UTF-8', input(Buffer.from([0x22, 0xff, 0x22])), 'it is not UTF-8'],
    ['deeper than 64', input(`${'['.repeat(65)}${']'.repeat(65)}`), 'it is nested deeper than 64'],
    ['100,000 deep', input(`${'['.repeat(100_000)}${']'.repeat(100_000)}`), 'it is nested deeper than 64'],
    [
      '200,000 objects deep',
      input(`${'{"":'.repeat(200_000)}1${'}'.repeat(200_000)}`),
      'it is nested deeper than 64',
    ],
  ])('that is %s cannot be read', (_name, request, why) => {
    expect(parseInput(request)).toEqual({ ok: false, why });
  });

  it('may be nested 64 deep', () => {
    const value: unknown = JSON.parse(`${'['.repeat(64)}${']'.repeat(64)}`);
    expect(isDeeperThan(value, 64)).toBe(false);
  });
});
