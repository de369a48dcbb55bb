import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jwkThumbprint, type P256PrivateJwk, signSnapshot } from '@kontext/oauth';
import { hashPolicies, starterPolicies } from '@kontext/policy';
import { exportJWK, generateKeyPair } from 'jose';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadCachedPolicy, type PolicyOwner, verifyPolicy } from './verify-policy.ts';

const nowMs = 1_790_000_000_000;
const policies = starterPolicies;
let key: P256PrivateJwk;
let owner: PolicyOwner;

beforeAll(async () => {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  key = (await exportJWK(privateKey)) as P256PrivateJwk;
});
beforeEach(() => {
  const stateDir = mkdtempSync(join(tmpdir(), 'kontext-policy-'));
  owner = { apiUrl: 'https://kontext.example', orgId: 'org_1', policyKey: jwkThumbprint(key), stateDir };
});
afterEach(() => rmSync(owner.stateDir, { recursive: true, force: true }));

async function snapshot(seq: number, version = seq, more = {}) {
  const iat = nowMs / 1000;
  const claims = {
    ...{ org: 'org_1', team: '', mode: 'observe' as const, stale: 'deny_sensitive' as const },
    ...{ version, seq, hash: hashPolicies(policies), iat, exp: iat + 900, ...more },
  };
  return { jws: await signSnapshot(claims, key), policies: [...policies] };
}

const verify = async (...of: Parameters<typeof snapshot>) =>
  verifyPolicy(await snapshot(...of), owner, nowMs);
const refused = (code: string) => expect.objectContaining({ code });
const versionsFile = (): string => join(owner.stateDir, 'policy-versions.json');

describe('the policy of a session', () => {
  it('is taken with its publication, and lets an old version come back as a new publication', async () => {
    expect(await verify(7, 5, { stale: 'deny_all' })).toEqual({
      version: 5,
      mode: 'observe',
      policies,
      publication: { seq: 7, staleRule: 'deny_all', issuedAtMs: nowMs, expiresAtMs: nowMs + 900_000 },
    });
    expect(await verify(8, 2)).toMatchObject({ version: 2, publication: { seq: 8 } });
  });

  it('is refused when a later publication was seen, also after a restart', async () => {
    await verify(8, 2);
    await expect(verify(7, 5)).rejects.toEqual(refused('KX_SNAPSHOT_ROLLBACK'));
    await expect(verify(8, 2)).resolves.toMatchObject({ version: 2 });
  });

  it('remembers publications per backend and organisation', async () => {
    await verify(8);
    const elsewhere = { ...owner, apiUrl: 'https://other.example' };
    await expect(verifyPolicy(await snapshot(1), elsewhere, nowMs)).resolves.toMatchObject({ version: 1 });
    expect(JSON.parse(readFileSync(versionsFile(), 'utf8'))).toEqual({
      v: 2,
      seen: { 'https://kontext.example org_1': 8, 'https://other.example org_1': 1 },
    });
  });

  it('goes on from what version 1 of the file had seen: publications were counted on from versions', async () => {
    writeFileSync(versionsFile(), JSON.stringify({ v: 1, seen: { 'https://kontext.example org_1': 6 } }));
    await expect(verify(5)).rejects.toEqual(refused('KX_SNAPSHOT_ROLLBACK'));
    await verify(6);
    await verify(7, 3);
    await expect(verify(6)).rejects.toEqual(refused('KX_SNAPSHOT_ROLLBACK'));
  });

  it('is refused when there is none', async () => {
    await expect(verifyPolicy(undefined, owner)).rejects.toEqual(refused('KX_SNAPSHOT_INVALID'));
  });
});

describe('the kept policy', () => {
  const kept = (): string => {
    const name = readdirSync(owner.stateDir).find((file) => file.startsWith('policy-snapshot-'));
    return join(owner.stateDir, name ?? '');
  };

  it('can be loaded after it has expired, and says since when', async () => {
    await verify(3);
    const later = nowMs + 3_600_000;
    expect(await loadCachedPolicy(owner, later)).toMatchObject({
      version: 3,
      policies,
      publication: { expiresAtMs: nowMs + 900_000 },
    });
    expect(statSync(kept()).mode & 0o777).toBe(0o600);
  });

  it('is none where nothing was kept, or what was kept is of another organisation', async () => {
    expect(await loadCachedPolicy(owner, nowMs)).toBeNull();
    await verify(3);
    expect(await loadCachedPolicy({ ...owner, orgId: 'org_2' }, nowMs)).toBeNull();
  });

  it('is refused when somebody changed it, or put an older one in its place', async () => {
    await verify(3);
    const old = readFileSync(kept(), 'utf8');
    writeFileSync(kept(), old.replace('forbid', 'permit'));
    await expect(loadCachedPolicy(owner, nowMs)).rejects.toEqual(refused('KX_SNAPSHOT_INVALID'));
    await verify(4);
    writeFileSync(kept(), old);
    await expect(loadCachedPolicy(owner, nowMs)).rejects.toEqual(refused('KX_SNAPSHOT_ROLLBACK'));
  });

  it('costs no session its policy when it cannot be written', async () => {
    await verify(3);
    const path = kept();
    rmSync(path);
    mkdirSync(path);
    await expect(verify(3)).resolves.toMatchObject({ version: 3 });
  });
});
