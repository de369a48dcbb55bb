import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { Secret } from './secret.ts';

const value = 'hunter2-hunter2';

it('shows [secret] wherever it is printed, serialised or concatenated', () => {
  const secret = new Secret(value);
  const nested = { a: [secret], m: new Map([['k', secret]]) };

  const outputs = [String(secret), `${secret}`, JSON.stringify({ secret }), inspect(secret)];
  outputs.push(inspect(nested, { depth: 9, showHidden: true, customInspect: true }));

  for (const output of outputs) {
    expect(output).toContain('[secret]');
    expect(output).not.toContain('hunter2');
  }
});

it('keeps the value out of its enumerable and hidden properties', () => {
  const secret = new Secret(value);

  expect(Reflect.ownKeys(secret)).toEqual([]);
  expect(inspect(secret, { customInspect: false, showHidden: true })).not.toContain('hunter2');
  expect(JSON.stringify(structuredClone({ ...secret }))).not.toContain('hunter2');
});

it('gives the value back to reveal alone, and its length', () => {
  const secret = new Secret(value);

  expect(secret.reveal()).toBe(value);
  expect(secret.length).toBe(value.length);
});
