/** What an organisation chose to keep of payloads. */
import { eq } from 'drizzle-orm';
import { standardClass } from '../retention-classes.ts';
import { auditSettings } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A choice as stored. */
export type AuditSettingsRow = typeof auditSettings.$inferSelect;

/** What holds for an organisation. `changedAt` is null where nobody chose. */
export type AuditSettings = Pick<AuditSettingsRow, 'payloads' | 'retentionClass'> & {
  readonly changedBy: string | null;
  readonly changedAt: Date | null;
};

/** What holds where nobody chose. */
const unset: AuditSettings = {
  payloads: 'summary',
  retentionClass: standardClass,
  changedBy: null,
  changedAt: null,
};

/** What holds for an organisation. */
export async function loadAuditSettings(tx: Tx, orgId: string): Promise<AuditSettings> {
  const [row] = await tx.select().from(auditSettings).where(eq(auditSettings.orgId, orgId)).limit(1);
  return row ?? unset;
}

/** Stores a choice. */
export async function putAuditSettings(tx: Tx, { orgId, ...values }: AuditSettingsRow): Promise<void> {
  await tx
    .insert(auditSettings)
    .values({ orgId, ...values })
    .onConflictDoUpdate({ target: auditSettings.orgId, set: values });
}
