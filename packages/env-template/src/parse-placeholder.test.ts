import { describe, expect, it } from 'vitest';
import { parsePlaceholder } from './index.ts';

const parsed = (body: string) => {
  const result = parsePlaceholder(body);
  return result.ok ? result.placeholder : result.reason;
};

describe('parsePlaceholder', () => {
  it.each([
    ['github', { provider: 'github', resource: '', scopes: [], delivery: 'inject', key: 'github' }],
    ['9-x', { provider: '9-x' }],
    ['postgres/prod-readonly', { provider: 'postgres', resource: 'prod-readonly' }],
    ['github/acme/app', { provider: 'github', resource: 'acme/app', key: 'github/acme/app' }],
    ['github?scope=repo', { scopes: ['repo'], key: 'github?scope=repo' }],
    [
      'g/x?scope=b+a&delivery=broker',
      { scopes: ['b', 'a'], delivery: 'broker', key: 'g/x?scope=a+b&delivery=broker' },
    ],
    ['g?delivery=broker', { delivery: 'broker', key: 'g?delivery=broker' }],
    ['g&delivery=inject', { delivery: 'inject', key: 'g' }],
    ['g?delivery=inject&scope=a', { scopes: ['a'], key: 'g?scope=a' }],
    ['g?scope=a+a', { scopes: ['a'] }],
    ['g?scope=https://x.test/auth/a.readonly', { scopes: ['https://x.test/auth/a.readonly'] }],
    ['g?scope=k=v', { scopes: ['k=v'] }],
  ])('reads %s', (body, wanted) => {
    expect(parsed(body)).toMatchObject(wanted);
  });

  it.each([
    ['', /provider/],
    ['-x', /provider/],
    ['a_b', /provider/],
    ['ä', /provider/],
    ['a'.repeat(64), /provider/],
    ['a/', /connection name/],
    ['a/?scope=x', /connection name/],
    ['a/x"y', /connection name/],
    ['a/x\u202ey', /connection name/],
    [`a/${'x'.repeat(257)}`, /connection name/],
    ['a?', /parameters/],
    ['a?x=1', /parameters/],
    ['a?scope=x&', /parameters/],
    ['a?scope=x&scope=y', /twice/],
    ['a?scope=', /scopes/],
    ['a?scope', /scopes/],
    ['a?scope=x++y', /scopes/],
    ['a?scope=x\u200b', /scopes/],
    ['a?delivery=', /delivery/],
    ['a?delivery=Inject', /delivery/],
  ])('refuses %j with a reason', (body, reason) => {
    expect(parsed(body)).toMatch(reason);
  });
});
