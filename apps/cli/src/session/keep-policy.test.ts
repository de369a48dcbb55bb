import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { jwkThumbprint, type P256PrivateJwk, signSnapshot } from '@kontext/oauth';
import { createPolicyEngine, hashPolicies } from '@kontext/policy';
import { exportJWK, generateKeyPair } from 'jose';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ActivePolicy, createActivePolicy } from '../hooks/active-policy.ts';
import { createPolicyKeeper, type PolicyKeeper, type PolicyKeeperOptions } from './keep-policy.ts';
import { type PolicyOwner, verifyPolicy } from './verify-policy.ts';

let key: P256PrivateJwk;
let owner: PolicyOwner;
let policy: ActivePolicy;
let keeper: PolicyKeeper | undefined;
/** The backend: which publication holds, how often it was asked, whether it answers. */
let backend: {
  seq: number;
  mode: 'observe' | 'enforce';
  fetches: number;
  down: boolean;
  gate: Promise<void>;
};
let changes: string[];

beforeAll(async () => {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  key = (await exportJWK(privateKey)) as P256PrivateJwk;
});
beforeEach(async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'kontext-keep-'));
  owner = { apiUrl: 'https://kontext.example', orgId: 'org_1', policyKey: jwkThumbprint(key), stateDir };
  backend = { seq: 1, mode: 'observe', fetches: 0, down: false, gate: Promise.resolve() };
  policy = createActivePolicy(await verifyPolicy(await snapshot(), owner), null, createPolicyEngine);
  changes = [];
});
afterEach(() => {
  keeper?.stop();
  rmSync(owner.stateDir, { recursive: true, force: true });
});

async function snapshot() {
  const { seq, mode } = backend;
  const iat = Math.floor(Date.now() / 1000);
  const times = { iat, exp: iat + 900 };
  const claims = { org: 'org_1', team: '', mode, version: seq, seq, stale: 'deny_all' as const, ...times };
  return { jws: await signSnapshot({ ...claims, hash: hashPolicies([]) }, key), policies: [] };
}

const getPolicySnapshot = async () => {
  backend.fetches += 1;
  const signed = await snapshot();
  await backend.gate;
  if (backend.down) throw new KontextError('KX_BACKEND_UNREACHABLE', 'down');
  return { snapshot: signed };
};

const keep = (watch: PolicyKeeperOptions['watch'], more: Partial<PolicyKeeperOptions> = {}): PolicyKeeper => {
  keeper = createPolicyKeeper({
    ...{ calls: { getPolicySnapshot }, watch, policy, owner, firstWaitMs: 5 },
    onChange: () => changes.push(`${policy.seq} ${policy.mode}`),
    ...more,
  });
  return keeper;
};

/** A stream that stays open and says nothing until it is aborted. */
async function* silent(signal: AbortSignal): AsyncGenerator<{ seq: bigint }> {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await sleep(5);
}

describe('the policy of a running session', () => {
  it('follows what the stream tells, and fetches nothing for what it has', async () => {
    keep(async function* (signal) {
      yield { seq: 1n };
      backend = { ...backend, seq: 2, mode: 'enforce' };
      yield { seq: 2n };
      yield { seq: 2n };
      yield* silent(signal);
    }).start();

    await until(() => changes.length > 0);

    expect([changes, policy.mode, backend.fetches]).toEqual([['2 enforce'], 'enforce', 1]);
  });

  it('asks once for a publication that changes nothing here', async () => {
    const { noteSeq } = keep(silent);
    noteSeq(7);
    await until(() => backend.fetches === 1);
    await sleep(20);
    noteSeq(7);
    noteSeq(0);
    await sleep(20);
    expect([backend.fetches, changes]).toEqual([1, []]);
  });

  it('fetches again when it hears of a publication while a snapshot is on its way', async () => {
    let open: () => void = () => undefined;
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    const { noteSeq } = keep(silent);
    backend.seq = 2;
    noteSeq(2);
    await until(() => backend.fetches === 1);
    await sleep(10);
    backend.seq = 3;
    noteSeq(3);
    open();
    await until(() => policy.seq === 3);
    expect(changes).toEqual(['2 observe', '3 observe']);
  });

  it('opens a cut stream again, and takes what it missed', async () => {
    let opened = 0;
    keep(async function* (signal) {
      opened += 1;
      if (opened < 3) {
        backend.seq = opened + 1;
        throw new KontextError('KX_TEMPORARY', 'cut');
      }
      yield* silent(signal);
    }).start();

    await until(() => opened === 3);

    expect(changes).toEqual(['2 observe', '3 observe']);
  });

  it('cuts a stream that says nothing, not even that it lives', async () => {
    let opened = 0;
    keep(
      (signal) => {
        opened += 1;
        return silent(signal);
      },
      { silenceMs: 20 },
    ).start();
    await until(() => opened >= 3);
    expect(backend.fetches).toBeGreaterThanOrEqual(2);
  });

  it('leaves a backend alone that knows no stream, and still takes what heartbeats tell', async () => {
    let opened = 0;
    const { start, noteSeq } = keep(() => {
      opened += 1;
      throw new KontextError('KX_NOT_A_BACKEND', 'it does not know this call');
    });
    start();
    await sleep(40);
    backend.seq = 2;
    noteSeq(2);
    await until(() => policy.seq === 2);
    expect([opened, backend.fetches]).toEqual([1, 1]);
  });

  it('is refreshed before it grows stale, without being called changed', async () => {
    keep(silent, { refreshMs: 20 }).start();
    await until(() => backend.fetches > 2);
    expect(changes).toEqual([]);
  });

  it('stays as it is while the backend is away or goes back, and opens no stream then', async () => {
    policy.replace({ version: 5, mode: 'enforce', policies: [] });
    let opened = 0;
    keep(() => {
      opened += 1;
      backend.down = true;
      throw new KontextError('KX_BACKEND_UNREACHABLE', 'down');
    }).start();
    await until(() => backend.fetches > 2);
    expect([opened, policy.version, policy.mode, changes]).toEqual([1, 5, 'enforce', []]);
  });

  it('stops with the session', async () => {
    let aborted = false;
    const { start, stop, noteSeq } = keep(async function* (signal) {
      yield* silent(signal);
      aborted = true;
    });
    start();
    await sleep(10);
    stop();
    await until(() => aborted);
    backend.seq = 9;
    noteSeq(9);
    await sleep(20);
    expect([backend.fetches, changes]).toEqual([0, []]);
  });
});
