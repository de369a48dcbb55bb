import { createId } from '@kontext/audit';
import { hashPolicies, starterPolicies, starterSources } from '@kontext/policy';
import { appendServerEvents, type ServerEvent } from '../audit/append-server-event.ts';
import { createStreams } from '../audit/create-streams.ts';
import { logKeyCreated } from '../audit/log/log-key.ts';
import { insertMember, insertOrg, type Role } from '../store/queries/local-accounts.ts';
import { insertPolicy } from '../store/queries/policies.ts';
import { insertOrgKey, type OrgKeyRow } from '../store/queries/secrets.ts';
import type { Tx } from '../store/tx.ts';

/** Agents every organisation has from the start. */
const builtInAgents = ['claude', 'run'] as const;

/** What an organisation is made from; ids come from `createId`. */
export interface NewOrganisation {
  readonly orgId: string;
  /** Short name, checked by the caller. */
  readonly slug: string;
  readonly name: string;
  readonly ownerId: string;
  readonly ownerName: string;
  /** From `preparePolicyKey`, before the transaction. */
  readonly policyKey: OrgKeyRow;
  /** From `prepareLogKey`, before the transaction. */
  readonly logKey: OrgKeyRow;
}

/**
 * Makes an organisation that can work at once: built-in agents, owner, admin stream, keys of policy and log, and the starter policies
 * published as version 1; all of it is recorded in the admin stream. Role `system`.
 */
export async function createOrganisation(tx: Tx, org: NewOrganisation, now: Date): Promise<void> {
  const { orgId, slug, name, ownerId, ownerName, policyKey, logKey } = org;
  const agents = builtInAgents.map((agent) => ({ id: createId('agt', now.getTime()), name: agent }));
  await insertOrg(tx, { id: orgId, slug, name, agents, now });
  await insertMember(tx, { userId: ownerId, orgId, name: ownerName, role: 'owner', groups: [], now });
  await createStreams(tx, ['admin'], { orgId, sessionId: null, userId: null }, now);
  await insertOrgKey(tx, orgId, 'policy', policyKey, now);
  await insertOrgKey(tx, orgId, 'log', logKey, now);
  const published = await publishStarter(tx, orgId, ownerId, now);
  const added = memberAdded({ userId: ownerId, name: ownerName, role: 'owner', groups: [] }, null);
  const key: ServerEvent = {
    kind: 'key.created',
    user: ownerId,
    facts: { purpose: 'policy', kid: policyKey.kid },
  };
  const events = [added, key, published, logKeyCreated(logKey, ownerId)];
  await appendServerEvents(tx, { orgId, sessionId: null }, events, now);
}

async function publishStarter(tx: Tx, orgId: string, author: string, now: Date): Promise<ServerEvent> {
  const policyId = createId('pol', now.getTime());
  const hash = hashPolicies(starterPolicies);
  const reason = 'starter policies of a new organisation';
  await insertPolicy(tx, policyId, {
    orgId,
    policyId,
    version: 1,
    policies: JSON.stringify(starterPolicies),
    sources: JSON.stringify(starterSources),
    hash,
    author,
    reason,
    createdAt: now,
  });
  return {
    kind: 'policy.published',
    user: author,
    policyVersion: 1,
    mode: 'observe',
    facts: { seq: 1, group: '', withdrawn: false, before: null, policy: policyId, hash, reason },
  };
}

/** A person to add. */
export interface NewUser {
  readonly userId: string;
  readonly name: string;
  readonly role: Role;
  readonly groups: readonly string[];
}

/**
 * Adds a person to an organisation and records it in the admin stream; role `system` or `app`.
 *
 * @param addedBy User who added them; null when it was done at the server's own command line.
 */
export async function createUser(
  tx: Tx,
  orgId: string,
  user: NewUser,
  addedBy: string | null,
  now: Date,
): Promise<void> {
  await insertMember(tx, { ...user, orgId, now });
  await appendServerEvents(tx, { orgId, sessionId: null }, [memberAdded(user, addedBy)], now);
}

const memberAdded = ({ userId, name, role, groups }: NewUser, addedBy: string | null): ServerEvent => ({
  kind: 'member.added',
  user: addedBy,
  facts: { member: userId, name, role, groups },
});
