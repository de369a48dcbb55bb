import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeCall } from './describe-call.ts';

const described = (call: unknown) => describeCall(JSON.stringify(call));

describe('a recorded call in words', () => {
  it('is the command as text where that is all there is', () => {
    const input = { command: 'a\nb', description: 'does a and b', timeout: 5 };
    const { call, about } = described({ schema: 2, tool: 'Bash', input, command: 'a\nb' });
    expect(call).toBe('a\nb');
    expect(about).toEqual([['Description', 'does a and b']]);
  });

  it.each([
    ['the input runs something else', { command: 'rm -rf /' }, 'ls'],
    ['the input says more', { command: 'ls', run_in_background: true }, 'ls'],
  ])('is all of the input when %s', (_what, input, command) => {
    expect(described({ schema: 2, tool: 'Bash', input, command }).call).toBe(JSON.stringify(input, null, 2));
  });

  it('says when not all of it stands there', () => {
    expect(described({ schema: 2, input: null, opaque: ['clipped'] }).isWhole).toBe(false);
    expect(described({ schema: 2, input: null, opaque: [] }).isWhole).toBe(true);
  });

  it('leaves out nothing of an input, whatever it is', () => {
    const property = fc.property(fc.jsonValue(), fc.option(fc.string()), (input, command) => {
      const { call } = described({ schema: 2, input, command });
      expect([command, JSON.stringify(JSON.parse(JSON.stringify(input)), null, 2)]).toContain(call);
    });
    fc.assert(property);
  });

  it('never fails', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void describeCall(text)));
  });
});
