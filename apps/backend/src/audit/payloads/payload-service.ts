import { KontextError } from '@kontext/errors';
import type { Caller } from '../../caller.ts';
import { type AuditSettings, loadAuditSettings } from '../../store/queries/audit-settings.ts';
import type { Erased } from '../../store/queries/payloads.ts';
import { retentionClasses } from '../../store/retention-classes.ts';
import type { PayloadDeps } from './deps.ts';
import { type ErasureTarget, erasePayloads } from './erase-payloads.ts';
import { holdPayloads } from './hold-payloads.ts';
import { type SettingsChange, setAuditSettings } from './set-audit-settings.ts';

export type { AuditSettings, Erased, ErasureTarget, SettingsChange };
export { retentionClasses };

/** What is kept of payloads, as its edge uses it. Roles and confirmations are checked there. */
export interface PayloadService {
  settings(caller: Caller): Promise<AuditSettings>;
  set(caller: Caller, change: SettingsChange): Promise<AuditSettings>;
  erase(caller: Caller, target: ErasureTarget, reason: string): Promise<Erased>;
  hold(caller: Caller, sessionId: string, held: boolean, reason: string): Promise<number>;
}

/** Puts it together. What each function refuses is said where it is written. */
export function createPayloadService(deps: PayloadDeps): PayloadService {
  const told = async <T>({ orgId }: Caller, work: Promise<T>): Promise<T> => {
    const result = await work;
    deps.appended.notify(orgId);
    return result;
  };
  return {
    settings: ({ orgId }) => deps.store.single({ role: 'read', orgId }, (tx) => loadAuditSettings(tx, orgId)),
    set: (caller, change) => told(caller, setAuditSettings(deps, caller, change)),
    erase: async (caller, target, reason) =>
      told(caller, erasePayloads(deps, caller, target, checkReason(reason))),
    hold: async (caller, sessionId, held, reason) =>
      told(caller, holdPayloads(deps, caller, { sessionId, held, reason: checkReason(reason) })),
  };
}

const maxReasonLength = 500;

/** @throws KontextError `KX_REQUEST_INVALID`. */
function checkReason(reason: string): string {
  const trimmed = reason.trim();
  if (trimmed === '' || trimmed.length > maxReasonLength || trimmed.includes('\0')) {
    throw new KontextError('KX_REQUEST_INVALID', 'the field reason cannot be used', {
      why: `a reason has 1 to ${maxReasonLength} characters, and no NUL`,
    });
  }
  return trimmed;
}
