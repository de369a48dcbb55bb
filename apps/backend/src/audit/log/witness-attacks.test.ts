import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DescMethodUnary, fromJson, toJson } from '@bufbuild/protobuf';
import { createRouterTransport, type Interceptor } from '@connectrpc/connect';
import { formatCheckpoint, formatNote, openNote, parseCheckpoint, parseVerifierKey } from '@kontext/audit';
import { type ErrorCode, errorTable, KontextError } from '@kontext/errors';
import { AuditService } from '@kontext/protocol';
import { type SQL, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createClients } from '../../../../cli/src/rpc/clients.ts';
import type { LogCalls } from '../../../../cli/src/witness/check-log.ts';
import { createWitness, describeTrouble, type Witness } from '../../../../cli/src/witness/witness.ts';
import { type LogOwner, readWitness, witnessFile } from '../../../../cli/src/witness/witness-state.ts';
import type { Caller } from '../../caller.ts';
import { createTestOrganisation, testKms as kms } from '../../organisations/test-organisation.ts';
import { auditRoutes } from '../../rpc/audit.ts';
import { callerKey } from '../../rpc/authenticate.ts';
import { toConnectError } from '../../rpc/connect-error.ts';
import type { Store } from '../../store/store.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { createAuditService } from '../audit-service.ts';
import { openTestSession, type TestClient } from '../test-client.ts';
import { type AuditLog, createAuditLog } from './audit-log.ts';
import { createLogKeys, type LogKeys } from './log-key.ts';
import { sequenceLogs } from './sequence-log.ts';

/** Whoever owns the database owns all that the backend says; the witness is another machine, with a file of its own. */
describe.each(testStores())('a witness of a log on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened?.close());
  const directories: string[] = [];
  afterEach(() => {
    for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
  });

  const at = new Date();
  const nowMs = () => at.getTime();
  const host = 'kontext.test';

  /** A backend with an organisation in whose log three batches stand, and a witness who has seen the first two. */
  async function prepare() {
    const org = await createTestOrganisation(store, at);
    let keys: LogKeys = createLogKeys({ store, kms, host, nowMs });
    const client = await openTestSession(store, org.owner, at);
    const stateDir = mkdtempSync(join(tmpdir(), 'kx-witness-'));
    directories.push(stateDir);
    const logKey = await createAuditLog({ store, keys }).verifierKey(org.orgId);
    const owner: LogOwner = { apiUrl: 'http://kontext.test', orgId: org.orgId, logKey, stateDir };
    const audit = createAuditService({ store, nowMs });
    let clockMs = nowMs();
    const calls = callsOf(org.owner, audit, () => createAuditLog({ store, keys, nowMs }));
    const room = {
      org,
      owner,
      client,
      calls,
      sequence: () => sequenceLogs({ store, keys, nowMs }),
      /** The keys as a process has them that was started later. */
      restart: () => {
        keys = createLogKeys({ store, kms, host, nowMs });
      },
      witness: (over: LogCalls = calls): Witness =>
        createWitness({ calls: over, owner, nowMs: () => clockMs }),
      later: (ms: number) => {
        clockMs += ms;
      },
      /** Sends events as the uploader does, and lets a witness hear of the answer. */
      send: async (count: number, heard: Witness = witness, writer: TestClient = client) => {
        const events = Array.from({ length: count }, () => writer.write());
        const batch = { ...writer.batch(events), events };
        const answer = await audit.append(org.owner, batch);
        heard.noteAck(client.opened.clientStreamId, batch, answer);
        return answer;
      },
    };
    // What is heard looks at the log by itself only once; the tests look when they want to.
    const witness: Witness = room.witness();
    await room.send(3);
    await room.sequence();
    await witness.contact();
    await room.send(2);
    await room.sequence();
    return { ...room, heard: witness };
  }
  type Room = Awaited<ReturnType<typeof prepare>>;

  /** Runs statements as the owner of the database: no role, no row-level security. */
  const asSuperuser = (...statements: SQL[]) =>
    store.transaction({ role: 'system', orgId: null }, async (tx) => {
      await tx.execute(sql`RESET ROLE`);
      for (const statement of statements) await tx.execute(statement);
    });
  const query = <T extends Record<string, unknown>>(statement: SQL) =>
    store.transaction({ role: 'system', orgId: null }, async (tx) => {
      await tx.execute(sql`RESET ROLE`);
      return (await tx.execute<T>(statement)).rows;
    });

  /** Takes a copy of the log's tables. @returns What puts it back, as after restoring a dump. */
  const dump = async ({ org }: Room) => {
    const [log] = await query<{ size: string; hashes: string }>(
      sql`SELECT size, encode(hashes, 'hex') AS hashes FROM audit_logs WHERE org_id = ${org.orgId}`,
    );
    const size = Number(log!.size);
    const streams = await query<{ id: string; head_seq: string; head: string; event: string | null }>(
      sql`SELECT id, head_seq, encode(head_hash, 'hex') AS head, encode(head_event_hash, 'hex') AS event
        FROM audit_streams WHERE org_id = ${org.orgId}`,
    );
    return {
      size,
      restore: () =>
        asSuperuser(
          ...streams.flatMap(({ id, head_seq: seq, head, event }) => [
            sql`DELETE FROM audit_payloads WHERE stream_id = ${id} AND seq > ${seq}::bigint`,
            sql`DELETE FROM audit_events WHERE stream_id = ${id} AND seq > ${seq}::bigint`,
            sql`DELETE FROM audit_segments WHERE stream_id = ${id} AND first_seq > ${seq}::bigint`,
            sql`UPDATE audit_streams SET head_seq = ${seq}::bigint, head_hash = decode(${head}, 'hex'),
              head_event_hash = decode(${event}, 'hex') WHERE id = ${id}`,
          ]),
          sql`DELETE FROM audit_log_nodes WHERE org_id = ${org.orgId} AND (position + 1) * (2 ^ level) > ${size}`,
          sql`DELETE FROM audit_checkpoints WHERE org_id = ${org.orgId} AND size > ${size}`,
          sql`UPDATE audit_logs SET size = ${size}, hashes = decode(${log!.hashes}, 'hex') WHERE org_id = ${org.orgId}`,
        ),
    };
  };

  /** The witness finds it, says it with the right code, remembers it, and keeps the checkpoint it had. */
  async function expectCaught(room: Room, code: ErrorCode, exitCode: number, witness = room.heard) {
    const before = readWitness(room.owner).note;
    await expect(witness.contact()).rejects.toMatchObject({ code });
    expect(errorTable[code].exitCode).toBe(exitCode);
    const { note, trouble } = readWitness(room.owner);
    expect(note).toBe(before);
    expect(describeTrouble(trouble)).toMatchObject({ code });
    expect(witness.close()).toMatchObject({ code });
  }

  test('goes on with a log that only grows, and proves what was acknowledged', async () => {
    const room = await prepare();
    const early = await room.heard.contact();
    room.later(11_000);
    const later = await room.heard.contact();
    await room.send(4);
    await room.sequence();
    room.later(11_000);
    const last = await room.heard.contact();
    expect(early.waiting).toBeGreaterThan(0);
    expect(later.waiting).toBe(0);
    expect(last.waiting).toBe(0);
    expect(last.checkpoint!.size).toBeGreaterThan(later.checkpoint!.size);
    expect(readWitness(room.owner)).toMatchObject({ note: last.note, key: room.owner.logKey, pending: [] });
    expect(statSync(witnessFile(room.owner)).mode & 0o777).toBe(0o600);
    expect(room.heard.close()).toBeNull();
  });

  test('finds the end of the log cut off', async () => {
    const room = await prepare();
    const copy = await dump(room);
    await room.send(2);
    await room.sequence();
    await room.heard.contact();
    await copy.restore();
    await expectCaught(room, 'KX_AUDIT_TRUNCATED', 13);
  });

  test('finds an older dump that was written on from', async () => {
    const room = await prepare();
    const copy = await dump(room);
    const head = { seq: 5, hash: (await room.send(2)).headHash };
    await room.sequence();
    await room.heard.contact();
    await copy.restore();
    const [stream] = await query<{ head: string }>(
      sql`SELECT encode(head_hash, 'hex') AS head FROM audit_streams WHERE id = ${room.client.opened.clientStreamId}`,
    );
    const forger = room.client.forkFrom({ seq: head.seq, hash: Buffer.from(stream!.head, 'hex') });
    const nobody = room.witness({} as LogCalls);
    for (let round = 0; round < 3; round += 1) {
      await room.send(1, nobody, forger);
      await room.sequence();
    }
    await expectCaught(room, 'KX_AUDIT_FORK', 11);
  });

  /** Each node takes the place of its sibling, on every level. */
  const swapNodes = (orgId: string) =>
    asSuperuser(
      sql`CREATE TEMP TABLE swapped AS SELECT a.level, a.position, b.hash FROM audit_log_nodes a
        JOIN audit_log_nodes b ON b.org_id = a.org_id AND b.level = a.level AND b.position = (a.position # 1)
        WHERE a.org_id = ${orgId}`,
      sql`UPDATE audit_log_nodes n SET hash = s.hash FROM swapped s
        WHERE n.org_id = ${orgId} AND n.level = s.level AND n.position = s.position`,
      sql`DROP TABLE swapped`,
    );

  test('finds nodes swapped when the log grows', async () => {
    const room = await prepare();
    await room.heard.contact();
    for (let round = 0; round < 5; round += 1) await room.send(1);
    await room.sequence();
    await swapNodes(room.org.orgId);
    await expectCaught(room, 'KX_AUDIT_FORK', 11);
  });

  test('finds nodes swapped under an event of its own', async () => {
    const room = await prepare();
    for (let round = 0; round < 3; round += 1) await room.send(1);
    await room.sequence();
    await room.heard.contact();
    await swapNodes(room.org.orgId);
    room.later(11_000);
    await expectCaught(room, 'KX_AUDIT_ALTERED', 15);
  });

  test('finds a node missing', async () => {
    const room = await prepare();
    await room.heard.contact();
    await room.send(1);
    await room.sequence();
    await asSuperuser(sql`DELETE FROM audit_log_nodes WHERE org_id = ${room.org.orgId}`);
    await expectCaught(room, 'KX_AUDIT_ALTERED', 15);
  });

  test('takes no other key', async () => {
    const room = await prepare();
    await room.heard.contact();
    await asSuperuser(
      sql`UPDATE signing_keys SET active = false, retired_at = now() WHERE org_id = ${room.org.orgId} AND purpose = 'log'`,
      sql`UPDATE audit_checkpoints SET note = NULL WHERE org_id = ${room.org.orgId}`,
    );
    room.restart();
    await room.sequence();
    await room.sequence();
    await expectCaught(room, 'KX_AUDIT_SIGNATURE', 12);
  });

  test('takes no note that names the pinned key and is signed by another', async () => {
    const room = await prepare();
    await room.heard.contact();
    const verifier = parseVerifierKey(room.owner.logKey)!;
    const { checkpoint } = await room.heard.contact();
    const text = formatCheckpoint({ ...checkpoint!, size: checkpoint!.size + 1 });
    const { privateKey } = generateKeyPairSync('ed25519');
    const note = formatNote(text, verifier, sign(null, Buffer.from(text), privateKey));
    await asSuperuser(
      sql`INSERT INTO audit_checkpoints (org_id, size, root, note, created_at)
        VALUES (${room.org.orgId}, ${checkpoint!.size + 1}, ${Buffer.from(checkpoint!.root)}, ${note}, now())`,
    );
    await expectCaught(room, 'KX_AUDIT_SIGNATURE', 12);
  });

  test('finds acknowledged events gone that no checkpoint held yet', async () => {
    const room = await prepare();
    await room.heard.contact();
    const copy = await dump(room);
    await room.send(2);
    await copy.restore();
    room.later(11_000);
    await expectCaught(room, 'KX_AUDIT_TRUNCATED', 13);
  });

  test('finds acknowledged events replaced before they came into the log', async () => {
    const room = await prepare();
    await room.heard.contact();
    await room.send(2);
    await asSuperuser(
      sql`UPDATE audit_segments SET head = sha256(head)
        WHERE stream_id = ${room.client.opened.clientStreamId} AND leaf_index IS NULL`,
    );
    await room.sequence();
    room.later(11_000);
    await expectCaught(room, 'KX_AUDIT_FORK', 11);
  });

  test('waits for a log that does not grow, and accuses one that grows without an acknowledged event', async () => {
    const room = await prepare();
    const lying: LogCalls = {
      ...room.calls,
      getInclusionProof: () => Promise.reject(new KontextError('KX_TEMPORARY', 'not yet')),
    };
    const witness = room.witness(lying);
    await room.send(1, witness);
    room.later(60_000);
    await witness.contact();
    room.later(3_600_000);
    expect((await witness.contact()).waiting).toBeGreaterThan(0);
    await room.send(1, room.witness({} as LogCalls));
    await room.sequence();
    await expectCaught(room, 'KX_AUDIT_TRUNCATED', 13, witness);
  });

  test('finds the log gone', async () => {
    const room = await prepare();
    await room.heard.contact();
    await asSuperuser(sql`DELETE FROM audit_checkpoints WHERE org_id = ${room.org.orgId}`);
    await expectCaught(room, 'KX_AUDIT_TRUNCATED', 13);
  });

  test('shares its memory with other sessions: the longer checkpoint stays', async () => {
    const room = await prepare();
    const [one, other] = [room.witness(), room.witness()];
    await one.contact();
    await room.send(1, other);
    await room.sequence();
    const slow: { -readonly [Name in keyof LogCalls]: LogCalls[Name] } = { ...room.calls };
    let held: Promise<unknown> = Promise.resolve();
    // While one of them asks, the other sees a longer log and writes it down.
    slow.getCheckpoint = async (request) => {
      const answer = await room.calls.getCheckpoint(request);
      slow.getCheckpoint = room.calls.getCheckpoint;
      await room.send(1, other);
      await room.sequence();
      held = other.contact();
      await held;
      return answer;
    };
    const found = await room.witness(slow).contact();
    expect(readWitness(room.owner).note).toBe(found.note);
    expect(parseCheckpoint(openNote(found.note, [parseVerifierKey(found.key)!])!.text)!.size).toBe(
      ((await held) as typeof found).checkpoint!.size,
    );
    expect(readWitness(room.owner).trouble).toBeNull();
  });

  test('takes the checkpoint of an answer, and does not mind one a second old', async () => {
    const room = await prepare();
    const { note: old } = await room.heard.contact();
    await room.send(1);
    await room.sequence();
    const newest = await room.heard.contact();
    const events = [room.client.write()];
    const batch = { ...room.client.batch(events), events };
    const witness = room.witness();
    witness.noteAck('str_x', { ...batch, events: [] }, { status: 'ok', headSeq: 0, headHash: Buffer.of() });
    witness.noteAck(room.client.opened.clientStreamId, batch, {
      ...{ status: 'ok', headSeq: 1, headHash: Buffer.alloc(32), checkpoint: old },
    });
    await witness.contact();
    expect(readWitness(room.owner)).toMatchObject({ note: newest.note, trouble: null });
  });

  test('pins the key at the first use when the login did not', async () => {
    const room = await prepare();
    const owner = { ...room.owner, logKey: '', stateDir: mkdtempSync(join(tmpdir(), 'kx-witness-')) };
    directories.push(owner.stateDir);
    const first = await createWitness({ calls: room.calls, owner, nowMs }).contact();
    const second = await createWitness({ calls: room.calls, owner, nowMs }).contact();
    expect(first).toMatchObject({ pinnedNow: true, key: room.owner.logKey });
    expect(second).toMatchObject({ pinnedNow: false, key: room.owner.logKey });
    // A login that names another key than the one of the first use is caught as well.
    const renamed = { ...owner, logKey: room.owner.logKey.replace(host, 'other.test') };
    await expect(createWitness({ calls: room.calls, owner: renamed, nowMs }).contact()).rejects.toMatchObject(
      {
        code: 'KX_AUDIT_SIGNATURE',
      },
    );
  });

  /** The calls of the command over the real edge, in memory: JSON, as it sends it. */
  function callsOf(
    caller: Caller,
    audit: ReturnType<typeof createAuditService>,
    log: () => AuditLog,
  ): LogCalls {
    const authenticated: Interceptor = (next) => async (request) => {
      request.contextValues.set(callerKey, {
        ...caller,
        ...{ orgName: 'Org', groups: [], clientId: 'kontext-cli', jkt: 'jkt', scope: 'kontext' },
        ...{ tokenExpiresAtMs: Date.now() + 60_000, acr: null, authAt: null, delegation: null },
        token: { userId: caller.userId, grantId: caller.grantId, jti: 'jti', delegated: false },
      });
      return next(request).catch((error: unknown) => {
        throw toConnectError(error);
      });
    };
    const { audit: client } = createClients(
      createRouterTransport((router) => auditRoutes(audit, log())(router), {
        router: { interceptors: [authenticated] },
      }),
    );
    const call =
      (method: DescMethodUnary, send: (request: never) => Promise<never>) => async (request: unknown) =>
        toJson(method.output, await send(fromJson(method.input, request as never) as never)) as never;
    const { method } = AuditService;
    return {
      getCheckpoint: call(method.getCheckpoint, client.getCheckpoint as never),
      getConsistencyProof: call(method.getConsistencyProof, client.getConsistencyProof as never),
      getInclusionProof: call(method.getInclusionProof, client.getInclusionProof as never),
      readStream: call(method.readStream, client.readStream as never),
    };
  }
});
