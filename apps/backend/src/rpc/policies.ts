import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Decision } from '@kontext/policy';
import {
  Mode,
  type PolicyDecisionSchema,
  type PolicyPublicationSchema,
  PolicyService,
  type PolicySnapshot,
  PolicySnapshotSchema,
  type PolicySources,
  type PolicyVersionSchema,
  type ReplayReportSchema,
  StaleRule,
} from '@kontext/protocol';
import type { Explanation, PolicyJudge, RecordedDecision } from '../policies/judge.ts';
import type { NamedPublication, PolicyLife, ShownVersion } from '../policies/policy-life.ts';
import type { PolicyService as Policies, SignedSnapshot } from '../policies/policy-service.ts';
import type { ReplayProgress } from '../policies/replay.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';
import { toSafeNumber } from './safe-number.ts';

/** The work behind this edge. */
export interface PolicyWork {
  readonly policies: Policies;
  readonly life: PolicyLife;
  readonly judge: PolicyJudge;
}

/** The edge of `policies/`. */
export const policyRoutes =
  ({ policies, life, judge }: PolicyWork): RpcRoutes =>
  (router) =>
    router.service(PolicyService, {
      getPolicySnapshot: async (_request, context) => ({
        snapshot: toSnapshotMessage(await policies.snapshot(callerOf(context))),
      }),
      watchPolicy: async function* (_request, context) {
        for await (const seq of policies.watch(callerOf(context).orgId, context.signal))
          yield { seq: BigInt(seq) };
      },
      validatePolicy: async ({ sources }, context) => {
        const { findings, policies: rules } = await judge.validate(callerOf(context), filesOf(sources));
        return { findings: [...findings], policies: [...rules] };
      },
      evaluatePolicy: async ({ call, sources, version }, context) => {
        const decision = await judge.evaluate(callerOf(context), choiceOf(sources, version), call);
        return { decision: toDecision(decision) };
      },
      replayPolicy: async function* ({ sources, version, sinceSeconds, group }, context) {
        const choice = choiceOf(sources, version);
        const query = { sinceSeconds, group };
        const steps = judge.replay(callerOf(context), choice, query, context.signal);
        for await (const step of steps) yield toProgress(step);
      },
      putPolicyDraft: async ({ sources, reason }, context) => {
        const made = await life.draft(callerOf(context), filesOf(sources), reason);
        return { version: toVersion(made.version), findings: [...made.findings] };
      },
      publishPolicy: async ({ version, group, mode, staleRule, reason }, context) => {
        const publication = await life.publish(callerOf(context), {
          ...{ version: toSafeNumber('version', version), group, reason },
          // Values that are not known degrade to the strict meaning; so says the sentence that was confirmed.
          mode: mode === Mode.OBSERVE ? 'observe' : 'enforce',
          staleRule: staleRule === StaleRule.DENY_SENSITIVE ? 'deny_sensitive' : 'deny_all',
        });
        return { publication: toPublication(publication) };
      },
      withdrawPolicy: async ({ group, reason }, context) => ({
        publication: toPublication(await life.withdraw(callerOf(context), group, reason)),
      }),
      listPolicyVersions: async ({ pageSize, pageToken }, context) => {
        const page = await life.list(callerOf(context), { pageSize, pageToken });
        return {
          versions: page.versions.map(toVersion),
          publications: page.publications.map(toPublication),
          nextPageToken: page.next,
        };
      },
      getPolicyVersion: async ({ version: asked }, context) => {
        const found = await life.get(callerOf(context), toSafeNumber('version', asked));
        return { version: toVersion(found.version), sources: { files: [...found.sources] } };
      },
      explainDecision: async ({ eventId }, context) =>
        toExplanation(await judge.explain(callerOf(context), eventId)),
    });

/** A signed snapshot as it goes over the wire. */
export const toSnapshotMessage = ({ jws, policies }: SignedSnapshot): PolicySnapshot =>
  create(PolicySnapshotSchema, { jws, policies: policies.map(({ id, text }) => ({ id, text })) });

const filesOf = (sources: PolicySources | undefined) =>
  (sources?.files ?? []).map(({ name, text }) => ({ name, text }));

const choiceOf = (sources: PolicySources | undefined, version: bigint) => ({
  files: sources === undefined ? null : filesOf(sources),
  version: toSafeNumber('version', version),
});

const toMode = (mode: 'observe' | 'enforce' | null): Mode =>
  mode === null ? Mode.UNSPECIFIED : mode === 'observe' ? Mode.OBSERVE : Mode.ENFORCE;

const toVersion = ({ version, ...shown }: ShownVersion): MessageInitShape<typeof PolicyVersionSchema> => ({
  ...{ version: BigInt(version), author: shown.author, reason: shown.reason, rules: shown.rules },
  ...{ hash: shown.hash, createdAt: timestampFromDate(shown.createdAt) },
  holds: shown.holds.map(toPublication),
});

const toPublication = (row: NamedPublication): MessageInitShape<typeof PolicyPublicationSchema> => ({
  ...{ seq: BigInt(row.seq), version: BigInt(row.version), group: row.groupName, mode: toMode(row.mode) },
  staleRule: row.staleRule === 'deny_sensitive' ? StaleRule.DENY_SENSITIVE : StaleRule.DENY_ALL,
  ...{ author: row.authorName, reason: row.reason, withdrawn: row.withdrawn },
  createdAt: timestampFromDate(row.createdAt),
});

function toDecision(decision: Decision | RecordedDecision): MessageInitShape<typeof PolicyDecisionSchema> {
  const { effect, rule, reason, part, approver, fourEyes, sensitive, failure, policyVersion, mode } =
    decision;
  return {
    ...{ effect, rule: rule ?? '', reason, part: part ?? '', approver: approver ?? '', fourEyes, sensitive },
    ...{ failure: failure ?? '', policyVersion: BigInt(policyVersion), mode: toMode(mode) },
  };
}

function toProgress({ calls, report }: ReplayProgress) {
  if (report === null) return { calls: BigInt(calls) };
  const { same, newlyDenied, newlyAsked, newlyAllowed, people, sessions, truncated } = report;
  const message: MessageInitShape<typeof ReplayReportSchema> = {
    ...{ calls: BigInt(report.calls), same: BigInt(same), newlyDenied: BigInt(newlyDenied) },
    ...{ newlyAsked: BigInt(newlyAsked), newlyAllowed: BigInt(newlyAllowed), people, sessions, truncated },
    notReproducible: report.notReproducible.map(({ cause, calls: counted }) => ({
      ...{ cause, calls: BigInt(counted) },
    })),
    groups: report.groups.map((group) => ({
      ...group,
      calls: BigInt(group.calls),
      people: [...group.people],
    })),
  };
  return { calls: BigInt(calls), report: message };
}

const toExplanation = ({ call, recorded, again, notReproducible, ruleText, parts }: Explanation) => ({
  ...{ eventId: call.eventId, sessionId: call.sessionId ?? '', tool: call.tool ?? '', ruleText },
  ...{ userName: call.userName ?? '', occurredAt: timestampFromDate(call.occurredAt) },
  ...{ recorded: toDecision(recorded), ...(again === null ? {} : { again: toDecision(again) }) },
  ...{ notReproducible: notReproducible ?? '', parts: [...parts] },
});
