import { describe, expect, test } from 'vitest';
import { type Candidate, chooseConnection, chooseMinting } from './choose-connection.ts';
import { closestName } from './closest-name.ts';

const own = (name: string, state: Candidate['state'] = 'connected'): Candidate => ({
  userId: 'usr',
  name,
  state,
});
const shared = (name: string, state: Candidate['state'] = 'connected'): Candidate => ({
  userId: null,
  name,
  state,
});

describe('chooseConnection', () => {
  test.each<[string, Candidate[], string, unknown]>([
    ['nothing', [], '', { kind: 'missing' }],
    ['the only own one whatever its name', [own('work')], '', { connection: own('work') }],
    ['own before shared', [shared('default'), own('work')], '', { connection: own('work') }],
    ['shared without own', [shared('default')], '', { connection: shared('default') }],
    ['several own', [own('a'), own('b'), shared('c')], '', { kind: 'ambiguous', names: ['a', 'b'] }],
    ['several shared', [shared('a'), shared('b')], '', { kind: 'ambiguous', names: ['a', 'b'] }],
    ['a named own one', [own('a'), own('b')], 'b', { connection: own('b') }],
    ['a named shared one beside own ones', [own('a'), shared('b')], 'b', { connection: shared('b') }],
    ['a name nobody has', [own('a'), shared('b')], 'c', { kind: 'missing' }],
    ['pending ones count for nothing', [own('a', 'pending'), shared('b')], '', { connection: shared('b') }],
    [
      'own that must log in again hides shared',
      [own('a', 'reauth_required'), shared('b')],
      '',
      { connection: own('a', 'reauth_required') },
    ],
  ])('%s', (_what, candidates, resource, expected) => {
    expect(chooseConnection(candidates, resource)).toMatchObject(expected as object);
  });
});

describe('chooseMinting', () => {
  test.each<[string, Candidate[], unknown]>([
    ['the one of the organisation', [shared('default')], { connection: shared('default') }],
    ['never one of the user', [own('default'), shared('default')], { connection: shared('default') }],
    ['nothing else of the organisation', [shared('prod')], { kind: 'missing' }],
    ['nothing that was revoked', [shared('default', 'revoked')], { kind: 'missing' }],
  ])('%s', (_what, candidates, expected) => {
    expect(chooseMinting(candidates)).toMatchObject(expected as object);
  });
});

describe('closestName', () => {
  test.each([
    ['gihtub', 'github'],
    ['strpe', 'stripe'],
    ['postgres', 'postgres-prod'],
    ['xyz', null],
    ['npn', 'npm'],
    ['', null],
  ])('for %j it is %j', (written, expected) => {
    expect(closestName(written, ['github', 'stripe', 'npm', 'postgres-prod'])).toBe(expected);
  });
});
