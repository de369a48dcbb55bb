/**
 * The life of a policy: draft, publish, restore, withdraw.
 *
 * - A version is stored once and never changes; which one holds, for whom and how, says the newest publication of a group.
 * - Whoever drafts or publishes holds the policy's row until the transaction ends: versions and publications count up without
 *   gaps, and a reader never sees a later one before an earlier one.
 * - Publishing an old version again restores it.
 */
import { KontextError } from '@kontext/errors';
import { hashPolicies, type PolicyText, type SourceFile } from '@kontext/policy';
import { appendServerEvent, type ServerEvent } from '../audit/append-server-event.ts';
import type { AppendSignal } from '../audit/append-signal.ts';
import type { Caller } from '../caller.ts';
import {
  findNewestSeq,
  findVersion,
  findVersionSummary,
  insertPublication,
  insertVersion,
  listHolding,
  listVersions,
  lockPolicy,
  type NamedPublication,
  type PublicationRow,
  type VersionSummary,
} from '../store/queries/policies.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { checkSources, invalidSource } from './check-sources.ts';
import type { CheckedSources, PolicyWorkers } from './policy-workers.ts';

export type { NamedPublication };

/** Who changes the policy; what they may is decided at the edge. */
export type Author = Pick<Caller, 'orgId' | 'userId' | 'userName'>;

/** A version as it is shown. */
export interface ShownVersion extends VersionSummary {
  /** Where it holds now. */
  readonly holds: readonly NamedPublication[];
}

/** What is to hold for whom. */
export interface NewPublication {
  readonly version: number;
  /** Empty: everybody. */
  readonly group: string;
  readonly mode: 'observe' | 'enforce';
  readonly staleRule: 'deny_sensitive' | 'deny_all';
  readonly reason: string;
}

/** What the work on policies needs. */
export interface PolicyLifeDeps {
  readonly store: Store;
  readonly appended: Pick<AppendSignal, 'notify'>;
  readonly workers: PolicyWorkers;
  readonly nowMs: () => number;
}

/** The life of an organisation's policy. */
export interface PolicyLife {
  /**
   * Stores sources as a new version that nobody decides with yet.
   *
   * @throws KontextError `KX_POLICY_INVALID` naming file, line and rule of the first error; `KX_REQUEST_INVALID` beyond the limits;
   *   `KX_POLICY_BUSY`, `KX_POLICY_SLOW`.
   */
  draft(
    author: Author,
    files: readonly SourceFile[],
    reason: string,
  ): Promise<CheckedSources & { readonly version: ShownVersion }>;
  /**
   * Lets a version hold for everybody or for one group.
   *
   * @throws KontextError `KX_NOT_FOUND` for a version there is none of, `KX_POLICY_INVALID` when it does not fit today's schema.
   */
  publish(author: Author, wanted: NewPublication): Promise<NamedPublication>;
  /** Ends what was published for a group. @throws KontextError `KX_NOT_FOUND` when nothing holds for it by itself. */
  withdraw(author: Author, group: string, reason: string): Promise<NamedPublication>;
  /** Versions, newest first, and what holds. `pageSize` 1 to 200, 0 means 50. @throws KontextError `KX_REQUEST_INVALID`. */
  list(
    caller: Pick<Caller, 'orgId'>,
    page: { readonly pageSize: number; readonly pageToken: string },
  ): Promise<PolicyPage>;
  /** A version with its sources; 0: the one that holds for everybody. @throws KontextError `KX_NOT_FOUND`. */
  get(
    caller: Pick<Caller, 'orgId'>,
    version: number,
  ): Promise<{ readonly version: ShownVersion; readonly sources: readonly SourceFile[] }>;
}

/** A page of versions; `next` is empty on the last one. */
export interface PolicyPage {
  readonly versions: readonly ShownVersion[];
  readonly publications: readonly NamedPublication[];
  readonly next: string;
}

/** Longest reason, in UTF-16 code units. */
const maxReasonLength = 500;

/** Puts the life of policies together. */
export function createPolicyLife(deps: PolicyLifeDeps): PolicyLife {
  return {
    draft: (author, files, reason) => draft(deps, author, files, reason),
    publish: (author, wanted) => publish(deps, author, wanted),
    withdraw: (author, group, reason) => withdraw(deps, author, group, reason),
    list: (caller, page) => list(deps, caller, page),
    get: (caller, version) => get(deps, caller, version),
  };
}

async function draft(
  deps: PolicyLifeDeps,
  author: Author,
  files: readonly SourceFile[],
  reason: string,
): ReturnType<PolicyLife['draft']> {
  checkReason(reason);
  checkSources(files);
  const checked = await deps.workers.check(author.orgId, files);
  const { policies, findings } = checked;
  const wrong = findings.find(({ error }) => error);
  if (wrong !== undefined) throw invalidSource(wrong);
  if (policies.length === 0) throw new KontextError('KX_POLICY_INVALID', 'the sources hold no rule');
  const version = await changing(deps, author, async (tx, policy, now) => {
    const number = policy.newestVersion + 1;
    const hash = hashPolicies(policies);
    await insertVersion(tx, {
      ...{ orgId: author.orgId, policyId: policy.id, version: number, hash, reason },
      ...{ policies: JSON.stringify(policies), sources: JSON.stringify(files) },
      ...{ author: author.userId, createdAt: now },
    });
    const facts = { policy: policy.id, hash, rules: policies.length, files: files.length, reason };
    await record(tx, author, { kind: 'policy.drafted', policyVersion: number, facts }, now);
    const made = { version: number, hash, reason, createdAt: now, author: author.userName };
    return { ...made, rules: policies.length, holds: [] };
  });
  return { ...checked, version };
}

async function publish(deps: PolicyLifeDeps, author: Author, wanted: NewPublication) {
  const { version, group, mode, staleRule, reason } = wanted;
  checkReason(reason);
  checkGroup(group);
  const { orgId } = author;
  const row = await deps.store.transaction({ role: 'read', orgId }, (tx) => findVersion(tx, orgId, version));
  if (row === null) throw new KontextError('KX_NOT_FOUND', `there is no version ${version} of the policy`);
  // An old version may not fit what this backend knows any more; it would deny every call it is asked about.
  await deps.workers.load(orgId, { version, policies: JSON.parse(row.policies) as PolicyText[] });
  return changing(deps, author, async (tx, _policy, now) => {
    const made = { version, groupName: group, mode, staleRule, withdrawn: false, reason };
    return addPublication(tx, author, made, now);
  });
}

async function withdraw(deps: PolicyLifeDeps, author: Author, group: string, reason: string) {
  checkReason(reason);
  if (group === '') {
    throw new KontextError('KX_REQUEST_INVALID', 'what holds for everybody is not withdrawn', {
      hint: 'publish another version, or the same one in observe',
    });
  }
  return changing(deps, author, async (tx, _policy, now) => {
    const before = (await listHolding(tx, author.orgId)).find(({ groupName }) => groupName === group);
    if (before === undefined)
      throw new KontextError('KX_NOT_FOUND', 'no policy holds for that group by itself');
    const { version, groupName, mode, staleRule } = before;
    return addPublication(
      tx,
      author,
      { version, groupName, mode, staleRule, withdrawn: true, reason },
      now,
      before,
    );
  });
}

type Published = Omit<PublicationRow, 'orgId' | 'seq' | 'author' | 'createdAt'>;

async function addPublication(
  tx: Tx,
  author: Author,
  made: Published,
  now: Date,
  known?: NamedPublication,
): Promise<NamedPublication> {
  const { orgId, userId } = author;
  const { version, groupName, mode, staleRule, withdrawn, reason } = made;
  const before = known ?? (await listHolding(tx, orgId)).find((one) => one.groupName === groupName);
  const seq = (await findNewestSeq(tx, orgId)) + 1;
  const row = { ...made, orgId, seq, author: userId, createdAt: now };
  await insertPublication(tx, row);
  const replaced = before && { version: before.version, mode: before.mode, staleRule: before.staleRule };
  const facts = { seq, group: groupName, staleRule, withdrawn, reason, before: replaced ?? null };
  await record(tx, author, { kind: 'policy.published', policyVersion: version, mode, facts }, now);
  return { ...row, authorName: author.userName };
}

async function list(
  { store }: PolicyLifeDeps,
  { orgId }: Pick<Caller, 'orgId'>,
  page: { readonly pageSize: number; readonly pageToken: string },
): Promise<PolicyPage> {
  const limit = page.pageSize === 0 ? 50 : page.pageSize;
  if (limit < 1 || limit > 200) throw invalid('page_size must be 1 to 200');
  if (!/^([1-9][0-9]{0,14})?$/.test(page.pageToken)) throw invalid('page_token is not one of ours');
  const before = page.pageToken === '' ? null : Number(page.pageToken);
  return store.transaction({ role: 'read', orgId }, async (tx) => {
    const publications = await listHolding(tx, orgId);
    const versions = await listVersions(tx, orgId, { before, limit });
    const last = versions.length < limit ? undefined : versions.at(-1);
    return {
      versions: versions.map((version) => withHolds(version, publications)),
      ...{ publications, next: last === undefined ? '' : String(last.version) },
    };
  });
}

async function get({ store }: PolicyLifeDeps, { orgId }: Pick<Caller, 'orgId'>, asked: number) {
  return store.transaction({ role: 'read', orgId }, async (tx) => {
    const publications = await listHolding(tx, orgId);
    const version =
      asked > 0 ? asked : (publications.find(({ groupName }) => groupName === '')?.version ?? 0);
    const summary = await findVersionSummary(tx, orgId, version);
    const row = summary === null ? null : await findVersion(tx, orgId, version);
    if (summary === null || row === null)
      throw new KontextError('KX_NOT_FOUND', `there is no version ${version} of the policy`);
    return { version: withHolds(summary, publications), sources: sourcesOf(row) };
  });
}

/** Versions from before sources were kept have none: their rules are shown as one file. */
function sourcesOf(row: { readonly sources: string; readonly policies: string }): readonly SourceFile[] {
  const sources = JSON.parse(row.sources) as SourceFile[];
  if (sources.length > 0) return sources;
  const policies = JSON.parse(row.policies) as PolicyText[];
  return [{ name: 'policy.cedar', text: `${policies.map(({ text }) => text).join('\n\n')}\n` }];
}

const withHolds = (version: VersionSummary, publications: readonly NamedPublication[]): ShownVersion => ({
  ...version,
  holds: publications.filter((one) => one.version === version.version),
});

/** Does something while nobody else drafts or publishes. */
async function changing<T>(
  { store, appended, nowMs }: PolicyLifeDeps,
  { orgId }: Author,
  work: (tx: Tx, policy: { readonly id: string; readonly newestVersion: number }, now: Date) => Promise<T>,
): Promise<T> {
  const result = await store.transaction({ role: 'app', orgId }, async (tx) => {
    const policy = await lockPolicy(tx, orgId);
    if (policy === null) throw new KontextError('KX_NOT_FOUND', 'the organisation has no policy');
    return work(tx, policy, new Date(nowMs()));
  });
  appended.notify(orgId);
  return result;
}

const record = async (
  tx: Tx,
  { orgId, userId }: Author,
  event: Omit<ServerEvent, 'user'>,
  now: Date,
): Promise<void> => {
  await appendServerEvent(tx, { orgId, sessionId: null }, { ...event, user: userId }, now);
};

function checkReason(reason: string): void {
  const isText = reason.trim() !== '' && reason.length <= maxReasonLength && !/\p{C}/u.test(reason);
  if (!isText) throw invalid(`a reason is 1 to ${maxReasonLength} characters without control characters`);
}

/** As `organisations/members.ts` takes them; whether anybody is in it yet does not matter. */
function checkGroup(group: string): void {
  if (!/^[^\p{C}]{0,200}$/u.test(group)) throw invalid('a group is not a name');
}

const invalid = (message: string): KontextError => new KontextError('KX_REQUEST_INVALID', message);
