import { timestampDate } from '@bufbuild/protobuf/wkt';
import { KontextError } from '@kontext/errors';
import { Mode, type PolicyDecision, type PolicyPublication, StaleRule } from '@kontext/protocol';

/** Number of a version on the command line, from 1. @throws KontextError `KX_USAGE`. */
export function parseVersion(text: string): bigint {
  if (isVersion(text)) return BigInt(text);
  throw new KontextError('KX_USAGE', `${text} is no version`, {
    hint: '`kontext policy history` lists versions',
  });
}

/** Whether a word means a version rather than a path. */
export const isVersion = (text: string): boolean => /^[1-9]\d{0,14}$/.test(text);

/** Longest reason, in characters. */
const maxReason = 500;

/** A reason is for people who read the history later. @throws KontextError `KX_USAGE` when it is empty or too long. */
export function parseReason(text: string): string {
  const reason = text.trim();
  if (reason !== '' && reason.length <= maxReason) return reason;
  throw new KontextError('KX_USAGE', '--reason cannot be used', {
    why: reason === '' ? 'it is empty' : `it is longer than ${maxReason} characters`,
    hint: 'say in a sentence why, for those who read the history',
  });
}

/** @throws KontextError `KX_USAGE`. */
export function parseMode(text: string): Mode {
  if (text === 'observe') return Mode.OBSERVE;
  if (text === 'enforce') return Mode.ENFORCE;
  throw new KontextError('KX_USAGE', '--mode must be observe or enforce');
}

/** @throws KontextError `KX_USAGE`. */
export function parseStaleRule(text: string): StaleRule {
  if (text === 'deny-sensitive') return StaleRule.DENY_SENSITIVE;
  if (text === 'deny-all') return StaleRule.DENY_ALL;
  throw new KontextError('KX_USAGE', '--stale must be deny-sensitive or deny-all');
}

/** A mode that is not known is the stricter one. */
export const modeName = (mode: Mode): 'observe' | 'enforce' =>
  mode === Mode.OBSERVE ? 'observe' : 'enforce';

/** RFC 3339, or null. */
export const instant = (at: PolicyPublication['createdAt']): string | null =>
  at === undefined ? null : timestampDate(at).toISOString();

/** A publication as `--json` shows it. */
export const describePublication = (one: PolicyPublication) => ({
  ...{ seq: Number(one.seq), version: Number(one.version), group: one.group || null },
  ...{
    mode: modeName(one.mode),
    stale: one.staleRule === StaleRule.DENY_SENSITIVE ? 'deny-sensitive' : 'deny-all',
  },
  ...{ author: one.author, reason: one.reason, createdAt: instant(one.createdAt), withdrawn: one.withdrawn },
});

/** A decision as `--json` shows it. */
export const describeDecision = (one: PolicyDecision) => ({
  ...{ effect: one.effect, rule: one.rule || null, reason: one.reason, part: one.part || null },
  ...{ approver: one.approver || null, fourEyes: one.fourEyes, sensitive: one.sensitive },
  ...{ policyVersion: Number(one.policyVersion), mode: modeName(one.mode), failure: one.failure || null },
});

/** For whom a publication is, in words. */
export const audienceOf = (group: string | null): string =>
  group === null || group === '' ? 'everybody' : `group ${group}`;
