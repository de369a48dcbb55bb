/**
 * `kontext audit verify` against an intruder who may write to the database as its superuser.
 *
 * Any byte, any row, any pair of rows: `packages/audit/src/verify.test.ts`. Every verdict on an appended batch:
 * `apps/backend/src/audit/append-model.test.ts`.
 */
import { partState } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, type StoryDatabase, sql } from '../databases.ts';
import { type AuditTail, followAudit } from '../follow-audit.ts';
import { bashCall, type Puppet, startPuppet, writeTemplate } from '../puppet.ts';
import { logIn, startWorld, type World } from '../world.ts';

const part = partState('postgres');

describe.skipIf(!part.available)(`an audit log that ${part.reason}`, () => {
  let database: StoryDatabase;
  let world: World;
  let tail: AuditTail;
  let sessionId: string;
  let streamId: string;

  beforeAll(async () => {
    database = await openDatabase('Postgres');
    world = await startWorld({
      upstream: false,
      ...(database.url === undefined ? {} : { databaseUrl: database.url }),
    });
    expect((await logIn(world, ['--insecure-storage'])).exitCode).toBe(0);
    writeTemplate(world, 'LOG_LEVEL=debug\n');
    tail = followAudit(world);
    sessionId = await playSession(5);
    streamId =
      (
        await query(`SELECT id FROM audit_streams WHERE session_id = '${sessionId}' AND kind = 'client'`)
      )[0] ?? '';
    await sql(url(), save);
  });
  afterAll(async () => {
    await tail?.stop();
    await world?.close();
    await database?.close();
  });

  const url = () => database.url ?? '';
  const query = (statement: string) => sql(url(), statement);

  async function callTools(puppet: Puppet, count: number, from = 0): Promise<void> {
    for (let at = from; at < from + count; at += 1) {
      const call = bashCall(`echo ${at}`, String(at));
      await puppet.hook('PreToolUse', call);
      await puppet.hook('PostToolUse', { ...call, tool_response: 'ok', duration_ms: 1 });
    }
  }
  async function playSession(calls: number): Promise<string> {
    const puppet = await startPuppet(world);
    await callTools(puppet, calls);
    await puppet.end();
    await tail.waitFor((e) => e.kind === 'session.ended' && e.session === puppet.sessionId);
    return puppet.sessionId;
  }
  async function verify(
    session: string,
  ): Promise<{ exitCode: number | null; report: Report; words: string }> {
    const json = await world.cli(['audit', 'verify', session, '--json']);
    return { exitCode: json.exitCode, report: JSON.parse(json.stdout) as Report, words: json.stderr };
  }

  describe('was written to', () => {
    afterEach(() => sql(url(), restore));

    it('verifies as long as nobody has', async () => {
      const { exitCode, report, words } = await verify(sessionId);
      const everything = await world.cli(['audit', 'verify']);

      expect(exitCode).toBe(0);
      expect(report).toMatchObject({ ok: true, streams: [{ ok: true }, { ok: true }] });
      expect(report.streams.find(({ kind }) => kind === 'client')?.events).toBeGreaterThanOrEqual(10);
      expect(words).toContain('nothing is missing or changed');
      expect(everything.exitCode).toBe(0);
    });

    const row = (seq: number) => `stream_id = 'STREAM' AND seq = ${seq}`;
    const flip = (column: string, at: string) =>
      `${column} = overlay(${column} placing chr(ascii(substr(${column}, ${at}, 1)) # 1) from ${at} for 1)`;
    /** Moves a row out of the way and back; seq 0 is nobody's. */
    const swap = (table: string) =>
      [
        [3, 0],
        [4, 3],
        [0, 4],
      ]
        .map(([from = 0, to = 0]) => `UPDATE ${table} SET seq = ${to} WHERE ${row(from)}`)
        .join('; ');

    it.each([
      [
        'one byte of a header changed',
        `UPDATE audit_events SET ${flip('header', '40')} WHERE ${row(3)}`,
        15,
        3,
      ],
      [
        'the last byte of a header changed',
        `UPDATE audit_events SET ${flip('header', 'length(header) - 1')} WHERE ${row(3)}`,
        15,
        3,
      ],
      [
        'one byte of a payload changed',
        `UPDATE audit_payloads SET ${flip('payload', '20')} WHERE ${row(3)}`,
        15,
        3,
      ],
      [
        'one byte of a chain value changed',
        `UPDATE audit_events SET chain = set_byte(chain, 7, get_byte(chain, 7) # 1) WHERE ${row(3)}`,
        15,
        3,
      ],
      [
        'a decision changed that the dashboard would show',
        `UPDATE audit_events SET decision = 'deny' WHERE ${row(3)}`,
        15,
        3,
      ],
      ['a row deleted', `DELETE FROM audit_events WHERE ${row(3)}`, 10, 3],
      [
        'the last row deleted',
        `DELETE FROM audit_events WHERE stream_id = 'STREAM' AND seq =
           (SELECT head_seq FROM audit_streams WHERE id = 'STREAM')`,
        13,
        null,
      ],
      ['two rows swapped', swap('audit_events'), 15, 3],
      ['two payloads swapped', swap('audit_payloads'), 15, 3],
      ['the head moved on', "UPDATE audit_streams SET head_seq = head_seq + 1 WHERE id = 'STREAM'", 13, null],
      [
        'the head moved back',
        "UPDATE audit_streams SET head_seq = head_seq - 1 WHERE id = 'STREAM'",
        11,
        null,
      ],
      [
        'another head put in',
        "UPDATE audit_streams SET head_hash = sha256('another') WHERE id = 'STREAM'",
        11,
        null,
      ],
      ['a forked end put in, its chain computed well', () => forgeLast('STREAM'), 11, null],
    ] as const)('by %s is found', async (_, statement, code, seq) => {
      const text = typeof statement === 'string' ? statement : statement();
      await sql(url(), `${asIntruder} ${text.replaceAll('STREAM', streamId)}`);

      const { exitCode, report, words } = await verify(sessionId);
      const everything = await world.cli(['audit', 'verify']);

      expect(exitCode).toBe(code);
      const bad = report.streams.filter(({ ok }) => !ok);
      expect(bad.map((stream) => stream.streamId)).toEqual([streamId]);
      if (seq !== null) expect(bad[0]?.findings[0]?.seq).toBe(seq);
      expect(words).toContain('1 of 2 streams do not verify');
      expect(everything.exitCode).toBe(code);
      expect(everything.stdout).toMatch(new RegExp(`BAD +client +${streamId}`));
    });

    it.each(['server', 'admin'] as const)('is found in the %s stream too', async (kind) => {
      await sql(
        url(),
        `${asIntruder} UPDATE audit_events SET ${flip('header', '40')} WHERE seq = 1 AND stream_id =
           (SELECT id FROM audit_streams WHERE kind = '${kind}' LIMIT 1)`,
      );

      const result = await world.cli(['audit', 'verify', '--json']);

      expect(result.exitCode).toBe(15);
      const bad = (JSON.parse(result.stdout) as Report).streams.filter(({ ok }) => !ok);
      expect(bad.map((stream) => stream.kind)).toEqual([kind]);
    });

    it('by erasing payloads still verifies: the hashes stay, and the report counts what is withheld', async () => {
      await sql(url(), `${asIntruder} DELETE FROM audit_payloads WHERE stream_id = '${streamId}'`);

      const { exitCode, report } = await verify(sessionId);

      expect(exitCode).toBe(0);
      expect(report.streams.find(({ kind }) => kind === 'client')?.withheld).toBeGreaterThanOrEqual(10);
    });
  });

  describe('is held by a signed log that', () => {
    it('shows its newest checkpoint and proves any event, by id and by seq', async () => {
      const [event = ''] = await query(
        `SELECT event_id FROM audit_events WHERE stream_id = '${streamId}' AND seq = 3`,
      );
      const checkpoint = await world.cli(['audit', 'checkpoint', '--json']);
      const proof = await world.cli(['audit', 'proof', event]);
      const bySeq = await world.cli(['audit', 'proof', `${streamId}:3`, '--json']);
      const verified = await world.cli(['audit', 'verify', sessionId]);

      expect(checkpoint.exitCode).toBe(0);
      const shown = JSON.parse(checkpoint.stdout) as { origin: string; size: number; note: string };
      expect(shown.note.startsWith(`${shown.origin}\n${shown.size}\n`)).toBe(true);
      expect(proof).toMatchObject({ exitCode: 0 });
      expect(proof.stdout).toContain(`is event 3 of ${streamId}`);
      expect(JSON.parse(bySeq.stdout)).toMatchObject({ event, seq: 3, segment: { stream: streamId } });
      expect(verified.exitCode).toBe(0);
      expect(verified.stderr).toMatch(/the log of \d+ segments .* holds the end of each stream/);
    });

    it('proves no event that is not there, and refuses what names none', async () => {
      const unknown = await world.cli(['audit', 'proof', `${streamId}:99999`]);
      const nonsense = await world.cli(['audit', 'proof', 'the last one']);
      expect(unknown).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('KX_NOT_FOUND') });
      expect(nonsense.exitCode).toBe(64);
    });

    it('is cut off: this machine has seen more, and says so until it is told to forget', async () => {
      await world.cli(['audit', 'checkpoint']);
      await sql(
        url(),
        'DELETE FROM audit_checkpoints WHERE size = (SELECT max(size) FROM audit_checkpoints)',
      );

      const verified = await world.cli(['audit', 'verify', sessionId, '--json']);
      const status = await world.cli(['status']);
      const puppet = await startPuppet(world);
      const end = await puppet.end();
      const inSession = await world.cli(['audit', 'checkpoint', '--forget'], {
        env: { KONTEXT_SESSION_ID: puppet.sessionId },
      });
      const forgotten = await world.cli(['audit', 'checkpoint', '--forget']);
      const anew = await world.cli(['audit', 'checkpoint']);

      expect(verified.exitCode).toBe(13);
      expect(JSON.parse(verified.stdout)).toMatchObject({ ok: false, log: { code: 'KX_AUDIT_TRUNCATED' } });
      expect(verified.stderr).toMatch(/error: the audit log of the organisation was cut off/);
      expect(status.exitCode).toBe(13);
      expect(status.stdout).toMatch(/audit log +ERROR: .*KX_AUDIT_TRUNCATED/);
      expect(end.stderr).toMatch(/error: the audit log of the organisation was cut off/);
      expect(inSession.exitCode).toBe(77);
      expect(forgotten.exitCode).toBe(0);
      expect(anew.exitCode).toBe(0);
      expect((await world.cli(['status'])).exitCode).toBe(0);
    });

    it('bears the signature of another key, and is not believed then', async () => {
      // Those that are signed meanwhile, too.
      await sql(
        url(),
        `CREATE FUNCTION forge_note() RETURNS trigger LANGUAGE plpgsql
           AS $$ BEGIN NEW.note := replace(NEW.note, '— ', '— other.'); RETURN NEW; END $$;
         CREATE TRIGGER forge_note BEFORE INSERT OR UPDATE ON audit_checkpoints
           FOR EACH ROW EXECUTE FUNCTION forge_note();
         UPDATE audit_checkpoints SET note = note`,
      );
      const result = await world.cli(['audit', 'verify', sessionId]);
      await sql(
        url(),
        `DROP TRIGGER forge_note ON audit_checkpoints;
         UPDATE audit_checkpoints SET note = regexp_replace(note, '— (other\\.)+', '— ')`,
      );
      await world.cli(['audit', 'checkpoint', '--forget']);

      expect(result.exitCode).toBe(12);
      expect(result.stderr).toContain('KX_AUDIT_SIGNATURE');
    });
  });

  describe('was rewritten in step, chain and head included,', () => {
    it('refuses what the session sends next as a fork, and records that', async () => {
      const puppet = await startPuppet(world);
      await callTools(puppet, 2);
      const uploaded = (e: { kind: string; session: string }) =>
        e.kind === 'tool_call.completed' && e.session === puppet.sessionId;
      await tail.waitFor(() => tail.events.filter(uploaded).length === 2);
      const [id = ''] = await query(
        `SELECT id FROM audit_streams WHERE session_id = '${puppet.sessionId}' AND kind = 'client'`,
      );
      await sql(url(), `${asIntruder} ${forgeLast(id)}; ${headToLast(id)}`);
      const rows = await query(
        `SELECT seq, md5(header) FROM audit_events WHERE stream_id = '${id}' ORDER BY seq`,
      );

      await callTools(puppet, 1, 2);
      const fork = await tail.waitFor((e) => e.kind === 'tamper.fork');
      const end = await puppet.end();

      expect(fork).toMatchObject({ session: puppet.sessionId });
      expect(JSON.parse(fork.payload ?? '{}')).toMatchObject({ stream: id, seq: rows.length + 1 });
      expect(end.stderr).toMatch(/the backend holds other events than this session sent/);
      // Nothing of the session's own was stored on top of the forgery, and the backend goes on.
      expect(
        await query(`SELECT seq, md5(header) FROM audit_events WHERE stream_id = '${id}' ORDER BY seq`),
      ).toEqual(rows);
      expect((await world.cli(['audit', 'verify', await playSession(1)])).exitCode).toBe(0);
    });
  });
});

interface Report {
  readonly ok: boolean;
  readonly streams: readonly {
    readonly streamId: string;
    readonly kind: string;
    readonly ok: boolean;
    readonly events: number;
    readonly withheld: number;
    readonly findings: readonly { readonly seq: number; readonly code: string }[];
  }[];
}

const tables = ['audit_events', 'audit_payloads', 'audit_streams'];
/** Neither row-level security nor foreign keys stop a superuser. */
const asIntruder = 'SET session_replication_role = replica;';
const save = [
  'CREATE SCHEMA saved',
  ...tables.map((t) => `CREATE TABLE saved.${t} AS TABLE public.${t}`),
].join('; ');
const restore = [
  'BEGIN',
  'SET LOCAL session_replication_role = replica',
  ...tables.flatMap((t) => [`DELETE FROM public.${t}`, `INSERT INTO public.${t} SELECT * FROM saved.${t}`]),
  'COMMIT',
].join('; ');

/** Another last event, with the chain value it has to have; the head is left alone. */
const forgeLast = (stream: string) => `
  WITH last AS (SELECT head_seq AS seq FROM audit_streams WHERE id = '${stream}'),
  before AS (SELECT chain FROM audit_events, last WHERE stream_id = '${stream}' AND audit_events.seq = last.seq - 1)
  UPDATE audit_events e SET
    header = forged.header,
    chain = sha256('kontext-chain-v1'::bytea || before.chain ||
                   sha256(convert_to('kontext-event-v1' || forged.header, 'UTF8')))
  FROM before, last, (SELECT seq, replace(header, '"redaction":"full-v1"', '"redaction":"none"') AS header
                      FROM audit_events WHERE stream_id = '${stream}') forged
  WHERE e.stream_id = '${stream}' AND e.seq = last.seq AND forged.seq = last.seq`;

const headToLast = (stream: string) => `
  UPDATE audit_streams s SET head_hash = e.chain FROM audit_events e
  WHERE s.id = '${stream}' AND e.stream_id = s.id AND e.seq = s.head_seq`;
