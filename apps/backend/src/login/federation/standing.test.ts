import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Role, roles } from '../../store/queries/local-accounts.ts';
import { decideStanding, parseGroupRoles, strongestRole } from './standing.ts';

const groupRoles = { admins: 'admin', guards: 'security', bosses: 'owner' } as const;
const decide = (
  role: Role,
  before: readonly string[],
  groups: readonly string[] | null,
  more: { readonly groupRoles?: Readonly<Record<string, Role>>; readonly isLastOwner?: boolean } = {},
) => decideStanding({ current: { role, groups: before }, groups, groupRoles, isLastOwner: false, ...more });

describe('role and groups after a login', () => {
  test.each([
    ['a mapped group gives its role', decide('member', [], ['admins']), 'admin', ['admins']],
    ['the strongest of several', decide('member', [], ['guards', 'admins']), 'admin', ['guards', 'admins']],
    ['a weaker mapped role replaces a stronger one', decide('owner', [], ['guards']), 'security', ['guards']],
    [
      'a role by hand stays where no group is mapped',
      decide('approver', ['devs'], ['devs', 'qa']),
      'approver',
      ['devs', 'qa'],
    ],
    ['a role from a group ends with the group', decide('admin', ['admins'], ['devs']), 'member', ['devs']],
    ['a role by hand beside another group stays', decide('auditor', ['admins'], []), 'auditor', []],
    [
      'a missing claim counts as no groups where groups are mapped',
      decide('admin', ['admins'], null),
      'member',
      [],
    ],
    [
      'a missing claim changes nothing where none is',
      decide('admin', ['x'], null, { groupRoles: {} }),
      'admin',
      ['x'],
    ],
    ['the last owner stays owner', decide('owner', ['bosses'], [], { isLastOwner: true }), 'owner', []],
    [
      'names of object properties are no groups',
      decide('member', [], ['constructor', '__proto__']),
      'member',
      ['constructor', '__proto__'],
    ],
  ])('%s', (_name, standing, role, groups) => {
    expect(standing).toEqual({ role, groups });
  });

  test('who is in no mapped group never gains a role', () => {
    const group = fc.constantFrom('admins', 'guards', 'devs', 'qa');
    fc.assert(
      fc.property(
        fc.constantFrom(...roles),
        fc.uniqueArray(group),
        fc.uniqueArray(group),
        (role, before, after) => {
          const { role: next } = decide(role, before, after);
          const mapped = strongestRole(after, groupRoles);
          expect([mapped ?? role, mapped ?? 'member']).toContain(next);
        },
      ),
    );
  });

  test('a login twice is like a login once', () => {
    const group = fc.constantFrom('admins', 'guards', 'devs');
    fc.assert(
      fc.property(fc.constantFrom(...roles), fc.uniqueArray(group), (role, groups) => {
        const once = decide(role, [], groups);
        expect(decide(once.role, once.groups, groups)).toEqual(once);
      }),
    );
  });

  test('a stored mapping to what is no role is passed over', () => {
    expect(parseGroupRoles('{"a":"admin","b":"king"}')).toEqual({ a: 'admin' });
  });
});
