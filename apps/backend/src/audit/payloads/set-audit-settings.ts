import { KontextError } from '@kontext/errors';
import type { Caller } from '../../caller.ts';
import {
  type AuditSettings,
  loadAuditSettings,
  putAuditSettings,
} from '../../store/queries/audit-settings.ts';
import { lockServerStream } from '../../store/queries/audit-streams.ts';
import { retentionClasses } from '../../store/retention-classes.ts';
import { appendServerEvent } from '../append-server-event.ts';
import type { PayloadDeps } from './deps.ts';

/** What to change; null: as it is. */
export interface SettingsChange {
  readonly payloads: AuditSettings['payloads'] | null;
  readonly retentionClass: string | null;
}

/**
 * Changes what is kept of payloads, and records it with what held before. Holds for what is stored from now on; what is stored
 * stays in its class. What changes nothing is not recorded.
 *
 * @returns What holds now.
 * @throws KontextError `KX_REQUEST_INVALID` when there is no such class to choose.
 */
export async function setAuditSettings(
  { store, nowMs }: PayloadDeps,
  { orgId, userId }: Caller,
  change: SettingsChange,
): Promise<AuditSettings> {
  checkClass(change.retentionClass);
  const now = new Date(nowMs());
  return store.transaction({ role: 'app', orgId }, async (tx) => {
    // Two changes at once: the second one is to see what the first one left.
    await lockServerStream(tx, orgId, null);
    const before = await loadAuditSettings(tx, orgId);
    const after = {
      ...{ orgId, changedBy: userId, changedAt: now },
      payloads: change.payloads ?? before.payloads,
      retentionClass: change.retentionClass ?? before.retentionClass,
    };
    const [old, wanted] = [chosen(before), chosen(after)];
    if (old.payloads === wanted.payloads && old.retentionClass === wanted.retentionClass) return before;
    await putAuditSettings(tx, after);
    const event = {
      kind: 'audit.settings_changed',
      user: userId,
      facts: { old, new: wanted },
    } as const;
    await appendServerEvent(tx, { orgId, sessionId: null }, event, now);
    return after;
  });
}

const chosen = ({ payloads, retentionClass }: Pick<AuditSettings, 'payloads' | 'retentionClass'>) => ({
  payloads,
  retentionClass,
});

function checkClass(name: string | null): void {
  if (name === null || retentionClasses.some((one) => one.name === name)) return;
  throw new KontextError('KX_REQUEST_INVALID', 'the field retention_class cannot be used', {
    why: `there is no class ${JSON.stringify(name.slice(0, 80))} to choose; there are ${retentionClasses.map((one) => one.name).join(', ')}`,
  });
}
