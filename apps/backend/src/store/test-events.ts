import { parseHeader } from '@kontext/audit';
import { sql } from 'drizzle-orm';
import type { Store } from './store.ts';

/** An event of an organisation's admin stream, as a test looks at it. */
export interface AdminEvent {
  readonly kind: string;
  readonly user: string | null;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Every event of the admin stream, in order. */
export async function listAdminEvents(store: Store, orgId: string): Promise<AdminEvent[]> {
  const { rows } = await store.transaction({ role: 'read', orgId }, (tx) =>
    tx.execute<{ header: string; payload: string | null }>(sql`
      SELECT e.header, p.payload FROM audit_events e
      LEFT JOIN audit_payloads p ON p.stream_id = e.stream_id AND p.seq = e.seq
      JOIN audit_streams s ON s.id = e.stream_id
      WHERE s.org_id = ${orgId} AND s.session_id IS NULL ORDER BY e.seq`),
  );
  return rows.map(({ header, payload }) => {
    const { kind, user } = parseHeader(header);
    return { kind, user, facts: payload === null ? {} : JSON.parse(payload) };
  });
}
