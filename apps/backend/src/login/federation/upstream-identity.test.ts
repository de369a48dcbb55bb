import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { domainOf, parseEmail, parseIdentity } from './upstream-identity.ts';

const base = { iss: 'https://idp.test', sub: 'alice' };

describe('what an identity provider says of a person', () => {
  test('the address counts when the provider says that it was verified', () => {
    const email = ' Alice@ACME.test ';
    const verified = [true, 'true'].map((email_verified) =>
      parseIdentity({ ...base, email, email_verified }, 'groups'),
    );
    const others = [false, 'yes', 1, undefined].map((email_verified) =>
      parseIdentity({ ...base, email, email_verified }, 'groups'),
    );
    for (const identity of verified)
      expect(identity).toMatchObject({ email: 'alice@acme.test', hasUnverifiedEmail: false });
    for (const identity of others) expect(identity).toMatchObject({ email: null, hasUnverifiedEmail: true });
  });

  test.each([
    ['a list', { groups: ['a', 'b', 'a', 7, '', ' c '] }, 'groups', ['a', 'b', 'c']],
    ['one name', { groups: 'a' }, 'groups', ['a']],
    ['a path', { realm_access: { roles: ['a'] } }, 'realm_access.roles', ['a']],
    [
      'a name with dots, and no path',
      { 'https://acme.test/groups': ['a'] },
      'https://acme.test/groups',
      ['a'],
    ],
    ['nothing', {}, 'groups', null],
    ['a path that ends early', { realm_access: 'no' }, 'realm_access.roles', null],
    ['an inherited property', {}, 'constructor', null],
    ['control characters', { groups: ['a\nb'] }, 'groups', []],
  ])('groups are read from %s', (_name, claims, claim, groups) => {
    expect(parseIdentity({ ...base, ...claims }, claim).groups).toEqual(groups);
  });

  test.each([
    {},
    { iss: base.iss },
    { ...base, sub: '' },
    { ...base, sub: 7 },
    { ...base, sub: 'x'.repeat(256) },
    { ...base, sub: 'ü' },
  ])('whoever has no usable name is nobody: %o', (claims) => {
    expect(() => parseIdentity(claims, 'groups')).toThrow(
      expect.objectContaining({ code: 'KX_FEDERATED_LOGIN_FAILED' }),
    );
  });

  test('any JSON is read or refused, never more', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string(), (value, claim) => {
        const identity = parseIdentity(
          { ...base, email: value, groups: value, name: value, sid: value, email_verified: true },
          claim || 'g',
        );
        expect(identity.email === null || /^\S+@\S+$/.test(identity.email)).toBe(true);
      }),
    );
  });

  test.each([
    'a@b',
    'a@b.test',
    "o'hara@b.test",
    'a b@c.test',
    'a@b@c.test',
    '@b.test',
    'a@',
    'a@-b',
    'a@b..',
    'ä@b.test',
    '<a@b.test>',
  ])('addresses are told from other texts: %s', (text) => {
    const good = ['a@b', 'a@b.test', 'ä@b.test', "o'hara@b.test"];
    expect(parseEmail(text)).toBe(good.includes(text) ? text : null);
  });

  test('the domain is what stands after the last @', () => {
    expect(domainOf('a@b.test')).toBe('b.test');
  });
});
