import { KontextError } from '@kontext/errors';
import {
  type HostileAnswer,
  type HostileProvider,
  hostileTokens,
  type StandIn,
  standInProfiles,
  startHostileProvider,
  startStandIn,
} from '@kontext/testkit';
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Caller } from '../caller.ts';
import type { TestOrganisation } from '../organisations/test-organisation.ts';
import { createSafeFetch } from '../providers/safe-fetch.ts';
import { connections as connectionRows, secrets } from '../store/schema.ts';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { approve, openTestRoom, readCallback, type TestReplica, type TestRoom } from './test-room.ts';

const answers: readonly HostileAnswer[] = [
  ...(['hang', 'drip', 'cut', 'large', 'redirect', 'html', 'html-error', 'wrong-type', 'garbage'] as const),
  ...(['newline-token', 'nul-token', 'control-refresh', 'control-error'] as const),
];
const hours = 3_600_000;

describe.each(testStores())('a provider that answers badly, on $kind', ({ open }) => {
  let opened: TestStore;
  let room: TestRoom;
  let org: TestOrganisation;
  let owner: Caller;
  let standIn: StandIn;
  let hostile: HostileProvider;
  /** The same backend, whose every call reaches the hostile provider instead, with little patience. */
  let badDay: TestReplica;
  beforeAll(async () => {
    opened = await open();
    room = await openTestRoom(opened);
  });
  beforeEach(async () => {
    org = await room.organisation();
    owner = org.owner;
    standIn = await startStandIn(standInProfiles.gitlab);
    hostile = await startHostileProvider('hang');
    const fetch = createSafeFetch({ allowLoopback: true });
    badDay = room.replica({
      nowMs: () => room.nowMs() + 3 * hours,
      fetch: (url, request) => fetch(url.replace(standIn.url, hostile.url), { ...request, timeoutMs: 400 }),
    });
    const { url, clientId, clientSecret } = standIn;
    await room.connections.addProvider(owner, {
      ...{ name: 'gitlab', kind: null, catalogueId: 'gitlab', clientId, clientSecret, scopes: [] },
      ...{ authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '', clientAuth: null },
      settingsJson: JSON.stringify({ base: url }),
    });
  });
  afterEach(async () => {
    await standIn?.close();
    await hostile?.close();
  });
  afterAll(async () => {
    await room?.close();
    await opened?.close();
  });

  const inOrganisation = async () => {
    const scope = { role: 'app', orgId: org.orgId } as const;
    const [rows, sealed] = await room.store.transaction(scope, async (tx) => [
      await tx.select().from(connectionRows),
      await tx.select().from(secrets).where(eq(secrets.purpose, 'connection')),
    ]);
    return { rows, sealed };
  };
  /** What a person or program is told: typed, in printable characters, without a token. */
  const checkError = (error: unknown): string => {
    if (!(error instanceof KontextError)) throw error;
    const said = `${error.message}${error.why}${error.hint}${JSON.stringify(error.details)}`;
    expect(said).toMatch(/^[^\p{C}]*$/u);
    expect(said).not.toMatch(/hostile-|Welcome|meta-data/);
    return error.code;
  };

  test.each(answers)('%s to a code: nothing is stored, the connection is not connected', async (answer) => {
    hostile.become(answer);
    const link = await room.connections.begin(owner, { provider: 'gitlab', name: '', scopes: [] });
    const opener = { ...owner, browserId: 'browser' };
    const ticket = link.connectUri.split('/').at(-1) ?? '';
    const callback = new URL(await approve(await room.connections.flow.open(opener, ticket)));
    const callbackId = callback.pathname.split('/').at(-1) ?? '';
    const soon = room.replica({ fetch: hostileFetch() });
    const finished = soon.connections.flow.finish(opener, callbackId, readCallback(callback));
    const code = checkError(await finished.catch((error: unknown) => error));
    expect(['KX_PROVIDER_UNREACHABLE', 'KX_CONNECT_FAILED']).toContain(code);
    const { rows, sealed } = await inOrganisation();
    expect(rows).toMatchObject([{ state: 'revoked', secretId: null, version: 0, failure: code }]);
    expect(sealed).toEqual([]);
    expect(JSON.stringify(rows)).not.toContain(hostileTokens.accessToken);
    // And the next try works.
    expect(await room.connect(owner, { provider: 'gitlab' })).toMatch(/^con_/);
  });

  const hostileFetch = () => {
    const fetch = createSafeFetch({ allowLoopback: true });
    return (url: string, request: Parameters<typeof fetch>[1]) =>
      fetch(url.replace(standIn.url, hostile.url), { ...request, timeoutMs: 400 });
  };

  test.each(answers)('%s to a refresh: the tokens stay as they were, and later it works', async (answer) => {
    const id = await room.connect(owner, { provider: 'gitlab' });
    const before = await inOrganisation();
    hostile.become(answer);
    const refused = await badDay.connections.tokens.get(owner.orgId, id).catch((error: unknown) => error);
    expect(checkError(refused)).toBe('KX_PROVIDER_UNREACHABLE');
    const { rows, sealed } = await inOrganisation();
    expect(rows).toMatchObject([{ state: 'connected', version: 1, secretId: before.rows[0]?.secretId }]);
    expect(rows[0]?.failure).toMatch(/^KX_(PROVIDER_UNREACHABLE|CONNECT_FAILED)$/);
    expect(sealed).toEqual(before.sealed);
    const later = room.replica({ nowMs: () => room.nowMs() + 3 * hours });
    const { accessToken } = await later.connections.tokens.get(owner.orgId, id);
    expect(standIn.isLive(accessToken)).toBe(true);
    expect((await inOrganisation()).rows).toMatchObject([
      { version: 2, failure: null, refreshStartedAt: null },
    ]);
  });

  test.each(answers)('%s while the old token lives: that one is handed out', async (answer) => {
    const id = await room.connect(owner, { provider: 'gitlab' });
    const { accessToken } = await room.connections.tokens.get(owner.orgId, id);
    hostile.become(answer);
    // Two hours of life, refreshed 12 minutes before their end.
    const late = room.replica({ nowMs: () => room.nowMs() + 2 * hours - 300_000, fetch: hostileFetch() });
    expect(await late.connections.tokens.get(owner.orgId, id)).toMatchObject({ accessToken });
  });

  test.each(answers)('%s to revoking: revoked here, and said that it is not there', async (answer) => {
    const id = await room.connect(owner, { provider: 'gitlab' });
    hostile.become(answer);
    const result = await badDay.connections.revoke(owner, id);
    // RFC 7009 §2.2: a status of 200 is all there is to read; but tokens in a text are no answer to anything.
    const is200 = ['html', 'garbage', 'newline-token', 'nul-token', 'control-refresh'].includes(answer);
    expect(result.revokedAtProvider).toBe(is200);
    expect(result.message).toMatch(/^[^\p{C}]*$/u);
    expect(result.message).not.toContain('hostile-');
    expect(await inOrganisation()).toMatchObject({
      rows: [{ state: 'revoked', secretId: null }],
      sealed: [],
    });
  });

  test.each(answers)('%s to being removed by force: removed, and said what is left', async (answer) => {
    await room.connect(owner, { provider: 'gitlab' });
    hostile.become(answer);
    const { message } = await badDay.connections.removeProvider(owner, 'gitlab', true);
    expect(message).toMatch(/^[^\p{C}]*$/u);
    expect(await inOrganisation()).toEqual({ rows: [], sealed: [] });
  });

  test.each(answers)('%s to an issuer that is discovered: nothing is added', async (answer) => {
    hostile.become(answer);
    const { connections } = room.replica({ fetch: hostileFetch() });
    const added = connections.addProvider(owner, {
      ...{ name: 'acme', kind: 'oauth2', issuer: hostile.url, clientId: 'id', clientSecret: 's', scopes: [] },
      ...{ authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '', clientAuth: null },
    });
    const code = checkError(await added.catch((error: unknown) => error));
    expect(['KX_PROVIDER_UNREACHABLE', 'KX_PROVIDER_INVALID']).toContain(code);
    expect((await connections.listProviders(owner)).map(({ name }) => name)).toEqual(['gitlab']);
  });
});
