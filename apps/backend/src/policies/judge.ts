/** Questions about what a policy says: validate, evaluate, replay, explain. Nothing is stored. */
import { isId, parseHeader } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Decision, PolicySet, PolicyText, SourceFile } from '@kontext/policy';
import { findEventById } from '../audit/log/find-event.ts';
import { type Caller, seesOrganisation } from '../caller.ts';
import { findVersion } from '../store/queries/policies.ts';
import { findRecordedCall, type RecordedCall } from '../store/queries/recorded-calls.ts';
import { checkSources, invalidSource } from './check-sources.ts';
import { type Holding, loadHolding } from './holding.ts';
import { whyNotReproducible } from './not-reproducible.ts';
import type { CheckedSources, DecidedCall } from './policy-workers.ts';
import { type ReplayDeps, type ReplayProgress, type ReplayQuery, replay } from './replay.ts';

/** Which policy a question is about: sources, a stored version, or with neither what holds for the caller. */
export interface PolicyChoice {
  readonly files: readonly SourceFile[] | null;
  /** 0: none. */
  readonly version: number;
}

/** A recorded decision, and the same call decided again. */
export interface Explanation {
  readonly call: RecordedCall;
  /** As it was recorded. */
  readonly recorded: RecordedDecision;
  /** By the same version; null when it cannot be. */
  readonly again: Decision | null;
  /** Why it cannot; null when it can. */
  readonly notReproducible: string | null;
  /** Of the rule that decided, in that version; empty when none did. */
  readonly ruleText: string;
  /** Of the call, in words. */
  readonly parts: readonly string[];
}

/** What an event says about its decision; what it does not say is empty. */
export interface RecordedDecision {
  readonly effect: string;
  readonly rule: string;
  readonly reason: string;
  readonly part: string;
  readonly approver: string;
  readonly fourEyes: boolean;
  readonly sensitive: boolean;
  readonly failure: string;
  readonly policyVersion: number;
  readonly mode: 'observe' | 'enforce' | null;
}

type Asker = Pick<Caller, 'orgId' | 'userId' | 'role'>;

/** Judges policies and calls. Everything throws `KX_POLICY_BUSY` and `KX_POLICY_SLOW`. */
export interface PolicyJudge {
  /** @throws KontextError `KX_REQUEST_INVALID` beyond the limits. */
  validate(caller: Asker, files: readonly SourceFile[]): Promise<CheckedSources>;
  /**
   * Decides one call.
   *
   * @param call JSON of a `ToolCall`, schema 2, at most 256 KiB.
   * @throws KontextError `KX_REQUEST_INVALID` for a call that is none, `KX_POLICY_INVALID`, `KX_NOT_FOUND`.
   */
  evaluate(caller: Asker, choice: PolicyChoice, call: string): Promise<Decision>;
  /** See `replay.ts`. */
  replay(
    caller: Asker,
    choice: PolicyChoice,
    query: ReplayQuery,
    signal: AbortSignal,
  ): AsyncGenerator<ReplayProgress>;
  /** @throws KontextError `KX_NOT_FOUND` when there is no such decision, or the caller may not see it. */
  explain(caller: Asker, eventId: string): Promise<Explanation>;
}

const maxCallBytes = 256 * 1024;

/** Puts the questions together. */
export function createPolicyJudge(deps: ReplayDeps): PolicyJudge {
  return {
    validate: async (caller, files) => {
      checkSources(files);
      return deps.workers.check(caller.orgId, files);
    },
    evaluate: async (caller, choice, call) => {
      if (Buffer.byteLength(call) > maxCallBytes) throw badCall('it is over 256 KiB');
      const holding = await deps.store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
        loadHolding(tx, caller.orgId, caller.userId),
      );
      const set = await chooseSet(deps, caller, choice, holding);
      const mode = holding?.mode ?? 'observe';
      const decided = await deps.workers.decide(caller.orgId, set, call, mode);
      if ('notReproducible' in decided) throw badCall(decided.notReproducible);
      return decided.decision;
    },
    replay: async function* (caller, choice, query, signal) {
      if ((choice.files === null) === (choice.version === 0))
        throw new KontextError('KX_REQUEST_INVALID', 'replay needs sources, or a version');
      yield* replay(deps, caller, await chooseSet(deps, caller, choice, null), query, signal);
    },
    explain: (caller, eventId) => explain(deps, caller, eventId),
  };
}

async function chooseSet(
  { store, workers }: ReplayDeps,
  { orgId }: Asker,
  { files, version }: PolicyChoice,
  holding: Holding | null,
): Promise<PolicySet> {
  if (files !== null) {
    if (version !== 0) throw new KontextError('KX_REQUEST_INVALID', 'either sources or a version, not both');
    checkSources(files);
    const { policies, findings } = await workers.check(orgId, files);
    const wrong = findings.find(({ error }) => error);
    if (wrong !== undefined) throw invalidSource(wrong);
    return { version: 0, policies };
  }
  const wanted = version === 0 ? (holding?.version ?? 0) : version;
  const row = await store.transaction({ role: 'read', orgId }, (tx) => findVersion(tx, orgId, wanted));
  if (row === null) throw new KontextError('KX_NOT_FOUND', `there is no version ${wanted} of the policy`);
  return { version: wanted, policies: JSON.parse(row.policies) as PolicyText[] };
}

async function explain(deps: ReplayDeps, caller: Asker, eventId: string): Promise<Explanation> {
  const call = isId('evt', eventId) ? await findCall(deps, caller, eventId) : null;
  if (call === null)
    throw new KontextError('KX_NOT_FOUND', 'there is no such decided call, or it is not yours');
  const version = call.policyVersion ?? 0;
  const row = await deps.store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
    findVersion(tx, caller.orgId, version),
  );
  const policies = row === null ? [] : (JSON.parse(row.policies) as PolicyText[]);
  const payload = readPayload(call.payload);
  const recorded = toRecorded(call, payload);
  const decided: DecidedCall =
    row === null || recorded.mode === null
      ? { notReproducible: `version ${version} of the policy is not known here` }
      : await decideAgain(deps, caller, { version, policies }, payload, recorded.mode);
  const said = 'notReproducible' in decided ? null : decided;
  return {
    ...{ call, recorded, again: said?.decision ?? null, parts: said?.parts ?? [] },
    notReproducible: 'notReproducible' in decided ? decided.notReproducible : null,
    ruleText: policies.find(({ id }) => id === recorded.rule)?.text ?? '',
  };
}

async function decideAgain(
  { workers }: ReplayDeps,
  { orgId }: Asker,
  set: PolicySet,
  payload: Payload | null,
  mode: 'observe' | 'enforce',
): Promise<DecidedCall> {
  const why = whyNotReproducible(payload);
  if (why !== null || payload === null) return { notReproducible: why ?? 'the call was not recorded' };
  return workers.decide(orgId, set, JSON.stringify(payload.call), mode);
}

/** The call that an id means, see `findEventById`; null when there is none that the caller may see, or it is no decided call. */
async function findCall({ store }: ReplayDeps, caller: Asker, eventId: string): Promise<RecordedCall | null> {
  const place = await findEventById(store, caller, eventId).catch((error: unknown) => {
    if (error instanceof KontextError && error.code === 'KX_NOT_FOUND') return null;
    throw error;
  });
  if (place === null) return null;
  const userId = seesOrganisation(caller) ? null : caller.userId;
  return store.transaction({ role: 'read', orgId: caller.orgId }, (tx) =>
    findRecordedCall(tx, place, userId),
  );
}

type Payload = Readonly<Record<string, unknown>>;

function readPayload(text: string | null): Payload | null {
  try {
    const value: unknown = JSON.parse(text ?? 'null');
    return typeof value === 'object' ? (value as Payload | null) : null;
  } catch {
    return null;
  }
}

function toRecorded(call: RecordedCall, payload: Payload | null): RecordedDecision {
  const text = (name: string): string => {
    const value = payload?.[name];
    return typeof value === 'string' ? value.slice(0, 1000) : '';
  };
  return {
    ...{ effect: call.decision ?? '', rule: call.rule ?? '', policyVersion: call.policyVersion ?? 0 },
    ...{ reason: text('reason'), part: text('part'), approver: text('approver'), failure: text('failure') },
    ...{ fourEyes: payload?.fourEyes === true, sensitive: payload?.sensitive === true },
    mode: parseHeader(call.header).mode,
  };
}

const badCall = (why: string): KontextError =>
  new KontextError('KX_REQUEST_INVALID', 'the call cannot be decided', { why });
