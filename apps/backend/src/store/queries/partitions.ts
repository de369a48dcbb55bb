/** Partitions of the audit log: made ahead and dropped at their end; for role `retention` alone. */
import { sql } from 'drizzle-orm';
import { type RetentionClass, retentionClasses } from '../retention-classes.ts';
import type { Tx } from '../tx.ts';
import { dayOf } from './audit-streams.ts';

const dayMs = 86_400_000;
/** A partition has what was received until the end of the day after its own. */
const partDays = 2;

/** The payloads of one class and day. */
export interface PayloadPart {
  readonly retentionClass: RetentionClass['name'];
  /** `YYYY-MM-DD`. */
  readonly partDay: string;
}

/** Makes the partitions of some days that are missing; nobody who reads or writes waits for it. */
export async function makePartitions(tx: Tx, firstDay: string, days: number): Promise<void> {
  await tx.execute(sql`SELECT kontext_make_partitions(${firstDay}::date, ${days}::int)`);
}

/** Last day whose payloads are due in a class, `YYYY-MM-DD`; null when they never are. */
export const dueUntil = ({ days }: Pick<RetentionClass, 'days'>, now: Date): string | null =>
  days === 0 ? null : dayOf(new Date(now.getTime() - (days + partDays) * dayMs));

/** Partitions of payloads whose time is over, oldest first. */
export async function listDueParts(tx: Tx, now: Date): Promise<PayloadPart[]> {
  const parts: PayloadPart[] = [];
  for (const one of retentionClasses) {
    const until = dueUntil(one, now);
    if (until === null) continue;
    const { rows } = await tx.execute<{ day: string }>(sql`
      SELECT to_char(to_date(right(c.relname, 8), 'YYYYMMDD'), 'YYYY-MM-DD') AS day
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = to_regclass(${`audit_payloads_${one.name.replaceAll('-', '_')}`})
        AND right(c.relname, 8) <= ${until.replaceAll('-', '')} ORDER BY 1`);
    parts.push(...rows.map(({ day }) => ({ retentionClass: one.name, partDay: day })));
  }
  return parts.sort((a, b) => a.partDay.localeCompare(b.partDay));
}

/** For how many seconds the part of some due ones that is longest past its end has been due; 0 of none. */
export function overdueSeconds(parts: readonly PayloadPart[], now: Date): number {
  const ages = parts.map(({ retentionClass, partDay }) => {
    const days = retentionClasses.find(({ name }) => name === retentionClass)?.days ?? 0;
    return (now.getTime() - Date.parse(partDay) - (days + partDays) * dayMs) / 1000;
  });
  return Math.max(0, ...ages);
}

/**
 * Erases the payloads of a partition by dropping it.
 *
 * @returns False when there is no such partition.
 * @throws KontextError `KX_TEMPORARY` when somebody uses it, after 100 ms: others would wait behind.
 */
export async function dropPart(tx: Tx, { retentionClass, partDay }: PayloadPart): Promise<boolean> {
  const { rows } = await tx.execute<{ dropped: boolean }>(
    sql`SELECT kontext_erase_payloads(${retentionClass}, ${partDay}::date) AS dropped`,
  );
  return rows[0]?.dropped === true;
}
