import {
  createId,
  hashSegment,
  type Id,
  openNote,
  parseCheckpoint,
  parseVerifierKey,
  verifyConsistency,
  verifyInclusion,
} from '@kontext/audit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createTestOrganisation,
  testKms as kms,
  type TestOrganisation,
} from '../../organisations/test-organisation.ts';
import { lockServerStream } from '../../store/queries/audit-streams.ts';
import type { Store } from '../../store/store.ts';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { appendServerEvent } from '../append-server-event.ts';
import { createAuditService } from '../audit-service.ts';
import { openTestSession } from '../test-client.ts';
import { type AuditLog, createAuditLog } from './audit-log.ts';
import { createLogKeys, type LogKeys } from './log-key.ts';
import { sequenceLogs } from './sequence-log.ts';

const now = new Date();

describe.each(testStores())('the log of an organisation on $kind', ({ open }) => {
  let opened: TestStore;
  let store: Store;
  let keys: LogKeys;
  let log: AuditLog;
  let org: TestOrganisation;
  beforeAll(async () => {
    opened = await open();
    store = opened.store;
  });
  afterAll(() => opened?.close());

  const start = async (): Promise<void> => {
    keys = createLogKeys({ store, kms, host: 'kontext.test', nowMs: () => now.getTime() });
    log = createAuditLog({ store, keys });
    org = await createTestOrganisation(store, now);
  };
  const sequence = () => sequenceLogs({ store, keys, nowMs: () => now.getTime() });
  const append = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at += 1) {
      await store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
        appendServerEvent(
          tx,
          { orgId: org.orgId, sessionId: null },
          { kind: 'agent.changed', user: null, facts: { at } },
          now,
        ),
      );
    }
  };
  const adminStream = async (): Promise<string> => {
    const stream = await store.transaction({ role: 'app', orgId: org.orgId }, (tx) =>
      lockServerStream(tx, org.orgId, null),
    );
    return stream!.id;
  };
  /** What a client does with a checkpoint: checks the signature with the key it pinned, reads size and root. */
  const openCheckpoint = async () => {
    const { note, verifierKey } = (await log.checkpoint(org.orgId))!;
    const verifier = parseVerifierKey(verifierKey)!;
    const note1 = openNote(note, [verifier])!;
    expect(note1.signedBy).toEqual([verifier]);
    expect(verifier.name).toBe(`kontext.test/${org.orgId}`);
    return parseCheckpoint(note1.text)!;
  };

  test('has a signed checkpoint that proves each event, and grows consistently', async () => {
    await start();
    await append(5);
    await sequence();
    const first = await openCheckpoint();
    await append(9);
    await sequence();
    const second = await openCheckpoint();
    const streamId = await adminStream();

    const proof = await log.consistency(org.orgId, first.size, second.size);
    expect(first.size).toBeGreaterThanOrEqual(5);
    expect(second.size).toBeGreaterThanOrEqual(first.size + 9);
    const sizes = { oldSize: first.size, oldRoot: first.root, size: second.size, root: second.root };
    expect(verifyConsistency({ ...sizes, proof })).toBe(true);
    for (const seq of [1, 4, 12]) {
      const found = await log.inclusion(org.orgId, streamId, seq, second.size);
      const leaf = hashSegment({ ...found.segment, stream: found.segment.streamId as Id<'str'> });
      expect(found.segment.firstSeq <= seq && seq <= found.segment.lastSeq).toBe(true);
      expect(
        verifyInclusion({
          ...{ leaf, index: found.leafIndex, size: second.size },
          ...{ root: second.root, proof: found.proof },
        }),
      ).toBe(true);
    }
  });

  test('is the same log whichever replica sequences, also when several do at once', async () => {
    await start();
    const others = [keys, createLogKeys({ store, kms, host: 'kontext.test', nowMs: () => now.getTime() })];
    await append(3);
    await sequence();
    const before = await openCheckpoint();

    const work = [append(20)];
    for (let round = 0; round < 4; round += 1) {
      const runs = others.map((own) => sequenceLogs({ store, keys: own, nowMs: () => now.getTime() }));
      await Promise.all(runs);
    }
    await Promise.all(work);
    await sequence();

    const after = await openCheckpoint();
    const proof = await log.consistency(org.orgId, before.size, after.size);
    const sizes = { oldSize: before.size, oldRoot: before.root, size: after.size, root: after.root };
    expect(after.size).toBeGreaterThanOrEqual(before.size + 20);
    expect(verifyConsistency({ ...sizes, proof })).toBe(true);
  });

  test('does nothing when nothing was appended', async () => {
    await start();
    await append(1);
    // The key itself is recorded.
    await sequence();
    await sequence();
    const before = await openCheckpoint();
    expect(await sequence()).toEqual({ leaves: 0, signed: 0 });
    expect(await openCheckpoint()).toEqual(before);
  });

  test('whose signer failed is signed by the next run', async () => {
    await start();
    await append(2);
    const broken: LogKeys = {
      ...keys,
      signerOf: () => Promise.reject(new Error('the key service is down')),
    };
    await expect(sequenceLogs({ store, keys: broken, nowMs: () => now.getTime() })).rejects.toThrow('down');
    expect(await log.checkpoint(org.orgId)).toBeNull();
    await sequence();
    expect((await openCheckpoint()).size).toBeGreaterThanOrEqual(2);
  });

  test('of one organisation is not held up by that of another whose key cannot be used', async () => {
    await start();
    await append(2);
    const broken = org.orgId;
    org = await createTestOrganisation(store, now);
    await append(2);
    const failing: LogKeys = {
      ...keys,
      signerOf: (orgId) =>
        orgId === broken ? Promise.reject(new Error('the key service is down')) : keys.signerOf(orgId),
    };
    await expect(sequenceLogs({ store, keys: failing, nowMs: () => now.getTime() })).rejects.toThrow('down');
    expect((await openCheckpoint()).size).toBeGreaterThanOrEqual(2);
    expect(await log.checkpoint(broken)).toBeNull();
  });

  test('goes out under the name of now when the backend has another public URL than before', async () => {
    await start();
    await sequence();
    const before = await openCheckpoint();
    const moved = createLogKeys({ store, kms, host: 'moved.test', nowMs: () => now.getTime() });
    const { note, verifierKey } = (await createAuditLog({ store, keys: moved }).checkpoint(org.orgId))!;
    const opened = openNote(note, [parseVerifierKey(verifierKey)!])!;
    expect(opened.signedBy).toHaveLength(1);
    expect(parseCheckpoint(opened.text)).toEqual({ ...before, origin: `moved.test/${org.orgId}` });
  });

  test('tells a recent note without making anybody wait', async () => {
    await start();
    await sequence();
    const none = log.recentNote(org.orgId);
    await expect.poll(() => log.recentNote(org.orgId)).toBe((await log.checkpoint(org.orgId))!.note);
    expect(none).toBe('');
  });

  test('proves events by stream and seq or by id, and to nobody who may not see them', async () => {
    await start();
    const member = await org.addUser('member');
    const auditor = await org.addUser('auditor');
    const client = await openTestSession(store, org.owner, now);
    const audit = createAuditService({ store, nowMs: () => now.getTime() });
    const events = [client.write(), client.write()];
    await audit.append(org.owner, client.batch(events));
    await sequence();
    const { size } = await openCheckpoint();
    const { clientStreamId: streamId } = client.opened;
    const byId = { streamId: '', seq: 0, eventId: events[1]!.id, size };
    const byPlace = { streamId, seq: 2, eventId: '', size };

    expect(await log.prove(org.owner, byId)).toEqual(await log.prove(org.owner, byPlace));
    expect(await log.prove(auditor, byId)).toMatchObject({ seq: 2, segment: { firstSeq: 1, lastSeq: 2 } });
    for (const query of [byId, byPlace, { ...byId, eventId: createId('evt') }]) {
      await expect(log.prove(member, query)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    }
    await expect(log.prove(org.owner, { ...byId, eventId: "x' OR 1=1" })).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
  });

  test('proves nothing that it does not hold', async () => {
    await start();
    await append(1);
    await sequence();
    const streamId = await adminStream();
    const { size } = await openCheckpoint();
    await expect(log.inclusion(org.orgId, streamId, 1, 0)).rejects.toMatchObject({ code: 'KX_TEMPORARY' });
    await expect(log.inclusion(org.orgId, streamId, 999, size)).rejects.toMatchObject({
      code: 'KX_NOT_FOUND',
    });
    await expect(log.inclusion(org.orgId, streamId, 1, size + 1000)).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
    await expect(log.consistency(org.orgId, 2, 1)).rejects.toMatchObject({ code: 'KX_REQUEST_INVALID' });
    await expect(log.consistency(org.orgId, 1, size + 1000)).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
  });

  test('shows nothing to another organisation', async () => {
    await start();
    await append(1);
    await sequence();
    const streamId = await adminStream();
    const { size } = await openCheckpoint();
    await start();
    await expect(log.inclusion(org.orgId, streamId, 1, size)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
    expect(await log.checkpoint(org.orgId)).toBeNull();
  });
});
