/** One pooled connection as the store uses it. */
import type { Duplex } from 'node:stream';
import { KontextError } from '@kontext/errors';
import { drizzle } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import { encodeScope, sessionLimits } from './begin.ts';
import { notCommitted } from './store-errors.ts';
import { encodeTextArray } from './text-array.ts';
import type { Tx, TxScope } from './tx.ts';

/** A connection with the ways to run a transaction on it. */
export interface PostgresLane {
  readonly client: pg.PoolClient;
  /** Resolves when transactions may be run. */
  readonly ready: Promise<void>;
  /** Begin, statements, commit. */
  run<T>(scope: TxScope, work: (tx: Tx) => Promise<T>): Promise<T>;
  /** One statement, with begin and commit in one round trip. */
  runOnce<T>(scope: TxScope, work: (tx: Tx) => Promise<T>): Promise<T>;
}

/** What of pg's client is not in its types. */
interface Insides {
  /** Of the server's process, as it (or a pooler) said when the connection was made. */
  readonly processID: number;
  readonly connection: { readonly stream: Duplex };
}

/**
 * Makes the lane of a new connection.
 *
 * Behind a pooler one connection meets many server processes, which do not know the names that others were told: such a
 * connection shows another process than the one that answers, and gets no names. Statements of longer transactions get none
 * either: the plan of a named one does not know its values, and with them the partitions that it need not look into.
 *
 * A pooler also keeps whoever asks until it has a server for him, by default for minutes while Postgres is away: there the
 * wait for a transaction has an end of ours. A connection to Postgres itself breaks instead.
 *
 * @param nameOf See `createStatementNames`.
 * @param waitMs Longest wait for the first answer of a connection, and behind a pooler for each BEGIN.
 */
export function createPostgresLane(
  client: pg.PoolClient,
  nameOf: (text: string) => string | undefined,
  waitMs: number,
): PostgresLane {
  const insides = client as unknown as Insides;
  const send = createTurnSender(client, insides);
  let isDirect = false;
  let single: { committed: Promise<void> | null } | null = null;
  const setUp = async (): Promise<void> => {
    const { rows } = await client.query<{ pid: number }>(within(waitMs, 'SELECT pg_backend_pid() AS pid'));
    if (rows[0]?.pid !== insides.processID) return;
    await client.query(sessionLimits);
    isDirect = true;
  };
  // When it fails, the connection does as one that is lent.
  const ready = setUp().catch(() => undefined);

  let isOpen = false;
  const query = (config: pg.QueryConfig, values: unknown[] = []): unknown => {
    if (!isOpen) throw new KontextError('KX_INTERNAL', 'a statement after the end of its transaction');
    if (single === null) return send(config, values);
    const name = isDirect && values.length > 0 ? nameOf(config.text) : undefined;
    const named = name === undefined ? config : { ...config, name };
    if (single.committed !== null)
      throw new KontextError('KX_INTERNAL', 'a second statement in a single one');
    const answer = send(named, values);
    single.committed = commit(send);
    // A statement that fails makes the commit fail as well: the statement says why.
    single.committed.catch(() => undefined);
    return answer;
  };
  const tx = drizzle({ query } as unknown as pg.PoolClient) as unknown as Tx;

  // What opens a transaction and its first statement go out together: pg sends without waiting for the answer before.
  const begin = async <T>(scope: TxScope, work: (tx: Tx) => Promise<T>): Promise<T> => {
    const text = `BEGIN; ${encodeScope(scope, isDirect)}`;
    const begun = send(isDirect ? text : within(waitMs, text));
    // When it fails, so does every statement after it; whoever waits for those hears of this one.
    begun.catch(() => undefined);
    isOpen = true;
    try {
      const result = await work(tx).catch(async (error: unknown) => {
        await begun;
        throw error;
      });
      await begun;
      return result;
    } finally {
      isOpen = false;
    }
  };

  return {
    client,
    ready,
    run: async (scope, work) => {
      const result = await begin(scope, work);
      await commit(send);
      return result;
    },
    runOnce: async (scope, work) => {
      const mine = { committed: null as Promise<void> | null };
      single = mine;
      try {
        const result = await begin(scope, work);
        await (mine.committed ?? commit(send));
        return result;
      } finally {
        single = null;
      }
    },
  };
}

/** A statement whose connection is given up when no answer came in time. */
export const within = (waitMs: number, text: string): pg.QueryConfig =>
  // The driver knows this setting of one statement; its types do not.
  ({ text, query_timeout: waitMs }) as pg.QueryConfig;

type Send = (config: string | pg.QueryConfig, values?: unknown[]) => Promise<pg.QueryResult>;

/** What is sent in one turn of the event loop leaves in one write. */
function createTurnSender(client: pg.PoolClient, { connection }: Insides): Send {
  let corked = false;
  return (config, values) => {
    if (!corked) {
      corked = true;
      const { stream } = connection;
      stream.cork();
      process.nextTick(() => {
        corked = false;
        stream.uncork();
      });
    }
    return client.query(config as pg.QueryConfig, values?.map(toParameter));
  };
}

/** Every array among the parameters of our statements is one of texts. */
const toParameter = (value: unknown): unknown =>
  Array.isArray(value) ? (encodeTextArray(value) ?? value) : value;

/** A statement that failed, and whose error `work` kept to itself, makes a COMMIT roll back without a word. */
async function commit(send: Send): Promise<void> {
  const { command } = await send('COMMIT');
  if (command !== 'COMMIT') throw notCommitted();
}
