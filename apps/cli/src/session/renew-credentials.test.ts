import { listPlaceholders, parseEnvTemplate } from '@kontext/env-template';
import { KontextError } from '@kontext/errors';
import type { RenewCredentialsRequestJson, RenewCredentialsResponseJson } from '@kontext/protocol';
import { Secret } from '@kontext/redaction';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createHeldCredentials } from './held-credentials.ts';
import { createRenewals } from './renew-credentials.ts';
import type { ResolvedCredential } from './resolve-placeholders.ts';

type Answer = (request: RenewCredentialsRequestJson) => RenewCredentialsResponseJson;

const life = 100;
const template = parseEnvTemplate(Buffer.from('A={{kontext:acme}}\nB={{kontext:beta}}\nS={{kontext:key}}\n'));
const [acme, beta, key] = listPlaceholders(template.entries);
if (acme === undefined || beta === undefined || key === undefined) throw new Error('three placeholders');

const credential = (leaseId: string, change: Partial<ResolvedCredential> = {}): ResolvedCredential => ({
  ...{
    value: new Secret(`value of ${leaseId}`),
    kind: 'oauth',
    leaseId,
    connectionId: '',
    connectionName: '',
  },
  ...{ scopes: [], expiresAt: null, expiresInSeconds: life, git: null, ...change },
});

/** Hands out `<lease>'` for each lease, as the backend would. */
const renewed: Answer = ({ leaseIds = [] }) => ({
  results: leaseIds.map((leaseId) => ({
    credential: {
      value: `value of ${leaseId}'`,
      leaseId: `${leaseId}'`,
      kind: 'CREDENTIAL_KIND_OAUTH',
      expiresIn: life,
    },
  })),
});
const refused =
  (code: string): Answer =>
  ({ leaseIds = [] }) => ({ results: leaseIds.map(() => ({ error: { code }, errorMessage: code })) });

describe('renewals', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function setUp() {
    const state = { answer: renewed, wallOffset: 0 };
    const asked: RenewCredentialsRequestJson[] = [];
    const hidden: string[] = [];
    const held = createHeldCredentials({
      steady: () => performance.now(),
      wall: () => Date.now() + state.wallOffset,
    });
    const heldAtHide: (string | undefined)[] = [];
    const renewals = createRenewals({
      calls: {
        renewCredentials: async (request) => {
          asked.push(request);
          await new Promise((resolve) => setTimeout(resolve, 10));
          return state.answer(request);
        },
      },
      ...{ sessionId: 'ses_1', held, random: () => 0 },
      hide: (values) => {
        heldAtHide.push(held.get(acme?.key ?? '')?.credential.leaseId);
        hidden.push(...values.map((value) => value.reveal()));
      },
    });
    const leaseOf = (placeholder: typeof acme) => held.get(placeholder?.key ?? '')?.credential.leaseId;
    const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);
    return { state, asked, hidden, heldAtHide, held, renewals, leaseOf, pass };
  }

  test('at 80 % of its life a credential is renewed, together with what is due soon, and never a static key', async () => {
    const { held, renewals, asked, leaseOf, pass } = setUp();
    held.put(acme, credential('a'));
    held.put(beta, credential('b', { expiresInSeconds: life + 4 }));
    held.put(key, credential('k', { kind: 'static', expiresInSeconds: null }));
    renewals.start();

    await pass(79);
    expect(asked).toEqual([]);
    await pass(2);

    expect(asked).toMatchObject([
      {
        ...{ sessionId: 'ses_1', leaseIds: ['a', 'b'] },
        placeholders: [{ provider: 'acme' }, { provider: 'beta' }],
      },
    ]);
    expect([leaseOf(acme), leaseOf(beta), leaseOf(key)]).toEqual(["a'", "b'", 'k']);
    renewals.stop();
  });

  test('a new value is hidden from what is recorded before it is held', async () => {
    const { held, renewals, hidden, heldAtHide, pass } = setUp();
    held.put(acme, credential('a'));
    renewals.start();
    await pass(85);
    expect(hidden).toEqual(["value of a'"]);
    expect(heldAtHide).toEqual(['a']);
    renewals.stop();
  });

  test('a failing backend is asked again with growing pauses, and the old value stays', async () => {
    const { state, held, renewals, asked, leaseOf, pass } = setUp();
    state.answer = () => {
      throw new KontextError('KX_BACKEND_UNREACHABLE', 'away');
    };
    held.put(acme, credential('a'));
    renewals.start();
    await pass(80 + 60);
    expect(asked.length).toBeGreaterThan(3);
    expect(asked.length).toBeLessThan(10);
    expect(renewals.trouble()).toMatchObject({ code: 'KX_BACKEND_UNREACHABLE' });
    expect(leaseOf(acme)).toBe('a');
    state.answer = renewed;
    await pass(61);
    expect([leaseOf(acme), renewals.trouble()]).toEqual(["a'", null]);
    renewals.stop();
  });

  test('what was taken back is forgotten, what has no successor is left in peace', async () => {
    for (const code of ['KX_LEASE_ENDED', 'KX_NOT_FOUND'] as const) {
      const { state, held, renewals, leaseOf, pass } = setUp();
      state.answer = refused(code);
      held.put(acme, credential('a'));
      renewals.start();
      await pass(85);
      expect([leaseOf(acme), renewals.trouble()?.code]).toEqual([undefined, code]);
      renewals.stop();
    }
    const { state, held, renewals, asked, leaseOf, pass } = setUp();
    state.answer = refused('KX_NOTHING_TO_RENEW');
    held.put(acme, credential('a'));
    renewals.start();
    await pass(200);
    expect([asked.length, leaseOf(acme), renewals.trouble()]).toEqual([1, 'a', null]);
    renewals.stop();
  });

  test('an ended session ends it: everything is forgotten, nobody is asked again', async () => {
    const { state, held, renewals, asked, pass } = setUp();
    state.answer = () => {
      throw new KontextError('KX_SESSION_ENDED', 'over');
    };
    held.put(acme, credential('a'));
    renewals.start();
    await pass(500);
    expect([asked.length, held.list()]).toEqual([1, []]);
  });

  test('a withheld renewal is asked for once a minute', async () => {
    const { state, held, renewals, asked, pass } = setUp();
    state.answer = () => {
      throw new KontextError('KX_RENEWAL_WITHHELD', 'no');
    };
    held.put(acme, credential('a'));
    renewals.start();
    await pass(80 + 130);
    expect(asked.length).toBeLessThanOrEqual(4);
    expect(await Promise.race([renewals.renewNow([acme.key]), pass(5).then(() => null)])).toBe(false);
    renewals.stop();
  });

  test('whoever asks for what is over waits for its successor; many who ask make one request', async () => {
    const { held, renewals, asked, leaseOf, pass } = setUp();
    held.put(acme, credential('a'));
    await pass(life + 1);
    const waiting = Promise.all(Array.from({ length: 20 }, () => renewals.renewNow([acme.key])));
    await pass(1);
    expect(new Set(await waiting)).toEqual(new Set([true]));
    expect([asked.length, leaseOf(acme)]).toEqual([1, "a'"]);
    renewals.stop();
  });

  test('what still lives is given without asking anybody', async () => {
    const { held, renewals, asked } = setUp();
    held.put(acme, credential('a'));
    expect(await renewals.renewNow([acme.key])).toBe(true);
    expect(asked).toEqual([]);
    renewals.stop();
  });

  test('a machine that slept renews at its next look; a clock that is a day wrong changes nothing', async () => {
    const { state, held, renewals, leaseOf, pass } = setUp();
    state.wallOffset = -86_400_000;
    held.put(acme, credential('a'));
    renewals.start();
    await pass(10);
    expect(leaseOf(acme)).toBe('a');
    state.wallOffset += life * 1000;
    renewals.check();
    await pass(1);
    expect(leaseOf(acme)).toBe("a'");
    renewals.stop();
  });

  test('an answer for other leases than asked is refused whole', async () => {
    const { state, held, renewals, leaseOf, pass } = setUp();
    state.answer = () => ({ results: [] });
    held.put(acme, credential('a'));
    renewals.start();
    await pass(81);
    expect([leaseOf(acme), renewals.trouble()?.code]).toEqual(['a', 'KX_NOT_A_BACKEND']);
    renewals.stop();
  });
});
