import { KontextError } from '@kontext/errors';
import { type P256PrivateJwk, signSnapshot } from '@kontext/oauth';
import type { PolicyText } from '@kontext/policy';
import type { Kms } from '@kontext/vault';
import { findOrg } from '../store/queries/members.ts';
import { findNewestPolicy } from '../store/queries/policies.ts';
import { findPolicyKey, findPolicyKeyId, type PolicyKeyRow } from '../store/queries/secrets.ts';
import type { Store } from '../store/store.ts';
import { openPolicyKey } from './policy-key.ts';

/** The newest policy of an organisation and the signature over what it is and for whom. */
export interface SignedSnapshot {
  readonly jws: string;
  readonly policies: readonly PolicyText[];
  readonly version: number;
  readonly mode: 'observe' | 'enforce';
}

/** Published policies as their edges use them. */
export interface PolicyService {
  /**
   * Signs the newest version of the policy that holds for everybody in the organisation.
   *
   * @throws KontextError `KX_NOT_FOUND` when the organisation has no policy or no key: it was not made by this backend.
   */
  snapshot(orgId: string): Promise<SignedSnapshot>;
  /** RFC 7638 thumbprint that clients pin at login. Throws as {@link PolicyService.snapshot} does. */
  keyThumbprint(orgId: string): Promise<string>;
}

/** What the policy service needs. */
export interface PolicyServiceDeps {
  readonly store: Store;
  readonly kms: Kms;
  /** Default `Date.now`. */
  readonly nowMs?: () => number;
}

/** A snapshot counts as fresh for so long (design: 15 minutes without contact). */
const snapshotSeconds = 15 * 60;
/** Opened keys that are kept, so that not every snapshot asks the key service. */
const maxOpenKeys = 1000;

/** Puts the policies together. */
export function createPolicyService({ store, kms, nowMs = Date.now }: PolicyServiceDeps): PolicyService {
  const keys = new Map<string, P256PrivateJwk>();
  const openOnce = async (orgId: string, row: PolicyKeyRow): Promise<P256PrivateJwk> => {
    const known = keys.get(row.kid);
    if (known) return known;
    const key = await openPolicyKey(kms, orgId, row);
    if (keys.size >= maxOpenKeys) keys.clear();
    keys.set(row.kid, key);
    return key;
  };
  return {
    snapshot: async (orgId) => {
      const [org, newest, keyRow] = await store.transaction({ role: 'app', orgId }, async (tx) => [
        await findOrg(tx, orgId),
        await findNewestPolicy(tx, orgId),
        await findPolicyKey(tx, orgId),
      ]);
      if (!org || !newest || !keyRow) throw noPolicy();
      const { version, hash } = newest;
      const iat = Math.floor(nowMs() / 1000);
      const jws = await signSnapshot(
        { org: orgId, team: '', mode: org.mode, version, hash, iat, exp: iat + snapshotSeconds },
        await openOnce(orgId, keyRow),
      );
      return { jws, policies: JSON.parse(newest.policies) as PolicyText[], version, mode: org.mode };
    },
    keyThumbprint: async (orgId) => {
      const kid = await store.transaction({ role: 'read', orgId }, (tx) => findPolicyKeyId(tx, orgId));
      if (kid === null) throw noPolicy();
      return kid;
    },
  };
}

const noPolicy = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'the organisation has no published policy', {
    hint: 'make organisations with `kontext-backend org create`',
  });
