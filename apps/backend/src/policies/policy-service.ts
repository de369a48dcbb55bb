import { KontextError } from '@kontext/errors';
import { type P256PrivateJwk, signSnapshot } from '@kontext/oauth';
import type { PolicyText } from '@kontext/policy';
import type { Kms } from '@kontext/vault';
import type { Caller } from '../caller.ts';
import { findVersion } from '../store/queries/policies.ts';
import { findOrgKey, findOrgPublicKey, type OrgKeyRow } from '../store/queries/secrets.ts';
import type { Store } from '../store/store.ts';
import { type Holding, loadHolding } from './holding.ts';
import { openPolicyKey } from './policy-key.ts';
import { createPublicationWatch, type PublicationWatch } from './publication-watch.ts';

/** The policy that holds for somebody and the signature over what it is and for whom. */
export interface SignedSnapshot {
  readonly jws: string;
  readonly policies: readonly PolicyText[];
  readonly holding: Holding;
}

/** Whose policy. */
export type PolicyOwner = Pick<Caller, 'orgId' | 'userId'>;

/** Published policies as their edges use them. */
export interface PolicyService extends PublicationWatch {
  /**
   * Signs what holds for the caller at this moment, see {@link loadHolding}.
   *
   * @throws KontextError `KX_NOT_FOUND` when the organisation has no policy or no key: it was not made by this backend.
   */
  snapshot(owner: PolicyOwner): Promise<SignedSnapshot>;
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
  const openOnce = async (orgId: string, row: OrgKeyRow): Promise<P256PrivateJwk> => {
    const known = keys.get(row.kid);
    if (known) return known;
    const key = await openPolicyKey(kms, orgId, row);
    if (keys.size >= maxOpenKeys) keys.clear();
    keys.set(row.kid, key);
    return key;
  };
  return {
    ...createPublicationWatch(store),
    snapshot: async ({ orgId, userId }) => {
      const [holding, row, keyRow] = await store.transaction({ role: 'app', orgId }, async (tx) => {
        const held = await loadHolding(tx, orgId, userId);
        return [
          held,
          held === null ? null : await findVersion(tx, orgId, held.version),
          await findOrgKey(tx, orgId, 'policy'),
        ] as const;
      });
      if (!holding || !row || !keyRow) throw noPolicy();
      const { version, hash, mode, seq, group: team, staleRule: stale } = holding;
      const iat = Math.floor(nowMs() / 1000);
      const jws = await signSnapshot(
        { org: orgId, team, mode, version, hash, seq, stale, iat, exp: iat + snapshotSeconds },
        await openOnce(orgId, keyRow),
      );
      return { jws, policies: JSON.parse(row.policies) as PolicyText[], holding };
    },
    keyThumbprint: async (orgId) => {
      const key = await store.transaction({ role: 'read', orgId }, (tx) =>
        findOrgPublicKey(tx, orgId, 'policy'),
      );
      if (key === null) throw noPolicy();
      return key.kid;
    },
  };
}

const noPolicy = (): KontextError =>
  new KontextError('KX_NOT_FOUND', 'the organisation has no published policy', {
    hint: 'make organisations with `kontext-backend org create`',
  });
