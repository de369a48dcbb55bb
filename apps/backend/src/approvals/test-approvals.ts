import { createHash } from 'node:crypto';
import { hashPolicies, type PolicyText } from '@kontext/policy';
import { eq } from 'drizzle-orm';
import { createAppendSignal } from '../audit/append-signal.ts';
import { openTestSession } from '../audit/test-client.ts';
import type { Caller } from '../caller.ts';
import { federatedAcr } from '../login/browser-sessions.ts';
import { createRateLimiter } from '../login/rate-limiter.ts';
import { createTestOrganisation, type TestOrganisation } from '../organisations/test-organisation.ts';
import { memberships, policies, policyPublications, policyVersions } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { type ApprovalService, createApprovalService } from './approval-service.ts';
import type { ApprovalWanted } from './request-approval.ts';

const rule = (id: string, annotations: string): PolicyText => ({
  id,
  text: `@id("${id}")\n${annotations}\nforbid (principal, action, resource);`,
});

/** Rules that ask, one for every way a rule can say who decides; and one that does not ask. */
export const testRules: readonly PolicyText[] = [
  rule('acme.self', '@effect("ask")\n@reason("publishing cannot be taken back")'),
  rule('acme.payments', '@effect("ask")\n@reason("money moves")\n@approver("payments")'),
  rule('acme.security', '@effect("ask")\n@approver("security")\n@four_eyes("yes")'),
  rule('acme.deny', '@reason("never")'),
];

/** Somebody with groups, as the edge hands them on. */
export type Person = Caller & { readonly groups: readonly string[] };

/** Approvals of one organisation whose clock a test moves. */
export interface ApprovalRoom {
  readonly org: TestOrganisation;
  readonly approvals: ApprovalService;
  /** A second replica: it shares the store, and nothing else. */
  readonly replica: ApprovalService;
  readonly nowMs: () => number;
  advance(ms: number): void;
  /** Adds a member. */
  add(role: Parameters<TestOrganisation['addUser']>[0], groups?: readonly string[]): Promise<Person>;
  regroup(person: Caller, groups: readonly string[]): Promise<void>;
  openSession(caller: Caller): Promise<string>;
  /** Publishes a version for a group (empty: everybody), or only drafts it. */
  publish(version: number, texts: readonly PolicyText[], group?: string | null): Promise<void>;
  /** What a session's hook server asks; the same call unless told otherwise. */
  wanted(sessionId: string, change?: Partial<ApprovalWanted> & { readonly command?: string }): ApprovalWanted;
}

/** Publishes a version of the policy for a group (empty: everybody), or with null only drafts it. */
export async function publishForTest(
  store: Store,
  orgId: string,
  publication: {
    readonly version: number;
    /** Counts up within the organisation; its first publication is 1. */
    readonly seq: number;
    readonly texts: readonly PolicyText[];
    readonly group: string | null;
    readonly author: string;
  },
  createdAt: Date,
): Promise<void> {
  const { version, seq, texts, group, author } = publication;
  await store.transaction({ role: 'app', orgId }, async (tx) => {
    const [policy] = await tx.select().from(policies);
    const facts = { orgId, version, author, reason: 'test', createdAt };
    const [known] = await tx.select().from(policyVersions).where(eq(policyVersions.version, version));
    if (known === undefined) {
      const text = { policies: JSON.stringify(texts), hash: hashPolicies(texts) };
      await tx.insert(policyVersions).values({ ...facts, ...text, policyId: policy?.id ?? '' });
    }
    if (group === null) return;
    await tx.insert(policyPublications).values({ ...facts, seq, groupName: group, mode: 'enforce' });
  });
}

/** What a hook server asks in a session: `npm publish`, unless told otherwise. */
export const wantedForTest = (
  sessionId: string,
  { command = 'npm publish', ...change }: Partial<ApprovalWanted> & { readonly command?: string } = {},
): ApprovalWanted => ({
  ...{ sessionId, rule: 'acme.self', policyVersion: testVersion, toolUseId: 'toolu_1' },
  callHash: hash(`call ${command}`),
  shapeHash: hash('shape Bash: npm publish'),
  call: JSON.stringify({ schema: 2, tool: 'Bash', input: { command }, command, cwd: '/home/dev/shop' }),
  ...{ callClipped: false, part: `command ${command}` },
  ...change,
});

/** Policy version with {@link testRules}. */
export const testVersion = 2;

/** Makes the room. */
export async function openApprovalRoom(store: Store): Promise<ApprovalRoom> {
  let offsetMs = 0;
  const nowMs = () => Date.now() + offsetMs;
  const org = await createTestOrganisation(store, new Date(nowMs()));
  const make = () =>
    createApprovalService({
      ...{ store, nowMs, limiter: createRateLimiter(store, nowMs), appended: createAppendSignal() },
      ...{ apiUrl: 'https://kontext.example' },
    });
  const app = <T>(work: (tx: Tx) => Promise<T>) => store.transaction({ role: 'app', orgId: org.orgId }, work);
  let seq = 1;
  const room: ApprovalRoom = {
    ...{ org, nowMs, approvals: make(), replica: make() },
    advance: (ms) => {
      offsetMs += ms;
    },
    add: async (role, groups = []) => {
      const caller = await org.addUser(role);
      await room.regroup(caller, groups);
      return { ...caller, groups };
    },
    regroup: async ({ userId }, groups) => {
      await app((tx) =>
        tx
          .update(memberships)
          .set({ groups: [...groups] })
          .where(eq(memberships.userId, userId)),
      );
    },
    openSession: async (caller) => (await openTestSession(store, caller, new Date(nowMs()))).sessionId,
    publish: (version, texts, group = '') => {
      seq += 1;
      const publication = { version, seq, group, texts, author: org.owner.userId };
      return publishForTest(store, org.orgId, publication, new Date(nowMs()));
    },
    wanted: wantedForTest,
  };
  await room.publish(testVersion, testRules);
  return room;
}

/** A login at the browser that is as fresh as it has to be. */
export const atBrowser = ({ userId, orgId }: Caller, nowMs: number, acr: string = federatedAcr) => ({
  ...{ userId, orgId, loggedInAtMs: nowMs, acr, identityProviderId: null, upstreamSid: null },
});

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
