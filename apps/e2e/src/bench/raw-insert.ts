/** Floors of `ingest/…`: the same rows put into the same tables with nothing in between. */
import { once } from 'node:events';
import { PGlite } from '@electric-sql/pglite';
import { type ChainedEvent, createId, parseHeader } from '@kontext/audit';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';

/** A way to insert. Rows are prepared before the clock starts. */
export interface RawInsert {
  /** @returns What stores the rows of a batch in one transaction. */
  prepare(events: readonly ChainedEvent[]): () => Promise<void>;
  close(): Promise<void>;
}

const eventColumns = `seq, event_id, kind, session_id, user_id, agent, tool, tool_use_id, decision, policy_version, occurred_at,
  header, chain, part_day, stream_id, org_id, received_at, late`;
const payloadColumns = 'seq, salt, payload, part_day, stream_id, org_id, retention_class';

/** One statement; what is the same in all rows of a batch is a parameter of its own. */
const unnestText = `
  WITH stored AS (INSERT INTO audit_events (${eventColumns})
    SELECT *, $14::date, $15, $16, $17::timestamptz, false FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[],
      $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::timestamptz[], $12::text[], $13::bytea[]))
  INSERT INTO audit_payloads (${payloadColumns})
    SELECT *, $14::date, $15, $16, 'standard' FROM unnest($1::bigint[], $18::bytea[], $19::text[])`;

/** Rows of one batch by column. Every batch is a stream of its own, so that keys never meet. */
function toColumns(events: readonly ChainedEvent[]) {
  const headers = events.map(({ header }) => parseHeader(header));
  const of = <K extends keyof (typeof headers)[number]>(name: K) => headers.map((header) => header[name]);
  const now = new Date().toISOString();
  return {
    rows: [
      ...[
        events.map(({ seq }) => seq),
        of('id'),
        of('kind'),
        of('session'),
        of('user'),
        of('agent'),
        of('tool'),
      ],
      ...[of('toolUse'), of('decision'), of('policyVersion'), of('occurredAt')],
      ...[events.map(({ header }) => header), events.map(({ chain }) => chain)],
    ],
    same: [now.slice(0, 10), createId('str'), headers[0]?.org, now] as const,
    payloads: [events.map(({ salt }) => salt), events.map(({ payload }) => payload)],
  };
}

/** By `unnest`, over a pool of connections. */
export function unnestOnPostgres(url: string, connections: number): RawInsert {
  const pool = new pg.Pool({ connectionString: url, max: connections });
  return {
    prepare: (events) => {
      const { rows, same, payloads } = toColumns(events);
      const values = [...rows, ...same, ...payloads];
      return async () => void (await pool.query({ name: 'raw', text: unnestText, values }));
    },
    close: () => pool.end(),
  };
}

/** By `unnest`, in the embedded database of a directory that nobody else has open. */
export async function unnestOnPglite(directory: string): Promise<RawInsert> {
  const database = await PGlite.create(directory);
  return {
    prepare: (events) => {
      const { rows, same, payloads } = toColumns(events);
      const values = [...rows, ...same, ...payloads];
      return async () => void (await database.query(unnestText, values));
    },
    close: () => database.close(),
  };
}

/** By COPY, over a pool of connections. */
export function copyOnPostgres(url: string, connections: number): RawInsert {
  const pool = new pg.Pool({ connectionString: url, max: connections });
  return {
    prepare: (events) => {
      const { rows, same, payloads } = toColumns(events);
      const [day, stream, org, now] = same;
      const seqs = rows[0] ?? [];
      const eventText = toCopyText([...rows, ...all(seqs, [day, stream, org, now, 'f'])]);
      const payloadText = toCopyText([seqs, ...payloads, ...all(seqs, [day, stream, org, 'standard'])]);
      return () => copyBoth(pool, eventText, payloadText);
    },
    close: () => pool.end(),
  };
}

async function copyBoth(pool: pg.Pool, events: string, payloads: string): Promise<void> {
  const connection = await pool.connect();
  try {
    await connection.query('BEGIN');
    for (const [into, text] of [
      [`audit_events (${eventColumns})`, events],
      [`audit_payloads (${payloadColumns})`, payloads],
    ] as const) {
      const stream = connection.query(copyFrom(`COPY ${into} FROM STDIN`));
      stream.end(text);
      await once(stream, 'finish');
    }
    await connection.query('COMMIT');
  } finally {
    connection.release();
  }
}

const all = (rows: readonly unknown[], values: readonly unknown[]) =>
  values.map((value) => rows.map(() => value));

function toCopyText(columns: readonly (readonly unknown[])[]): string {
  const rows = columns[0] ?? [];
  return rows.map((_, at) => `${columns.map((column) => toField(column[at])).join('\t')}\n`).join('');
}

function toField(value: unknown): string {
  if (value === null || value === undefined) return '\\N';
  if (value instanceof Uint8Array) return `\\\\x${Buffer.from(value).toString('hex')}`;
  return String(value).replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n');
}
