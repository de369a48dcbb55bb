import { ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createDpopProof } from '@kontext/oauth';
import { AuditService, ErrorDetailSchema } from '@kontext/protocol';
import { createLocalKms } from '@kontext/vault';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type TestStore, testStores } from '../store/test-stores.ts';
import { startTestApp, type TestApp } from '../test-app.ts';
import { logIn, type TestLogin } from '../test-login.ts';
import { wire } from '../wiring.ts';

describe.each(testStores())('watches of one person on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  beforeAll(async () => {
    opened = await open();
    app = await startTestApp(opened.store, {
      wire,
      kms: createLocalKms(new Map([['test', Buffer.alloc(32, 7)]]), 'test'),
    });
  });
  afterAll(async () => {
    await app?.close();
    await opened?.close();
  });

  const clientOf = ({ accessToken, jwk: key }: TestLogin) => {
    const prove: Interceptor = (next) => async (request) => {
      request.header.set('authorization', `DPoP ${accessToken}`);
      const proof = { key, htm: 'POST', htu: request.url, accessToken, nowMs: Date.now() };
      request.header.set('dpop', await createDpopProof(proof));
      return next(request);
    };
    const interceptors = [prove];
    const transport = createConnectTransport({ baseUrl: app.apiUrl, httpVersion: '1.1', interceptors });
    return createClient(AuditService, transport);
  };
  const watch = async (login: TestLogin) => {
    const stream = clientOf(login).watchEvents({ sinceSeconds: 3600 })[Symbol.asyncIterator]();
    await stream.next();
    return stream;
  };
  const refusalOf = async (call: Promise<unknown>) => {
    try {
      await call;
      return null;
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      const { code, hint } = error.findDetails(ErrorDetailSchema)[0] ?? {};
      return { code, hint, message: error.message };
    }
  };

  test('are limited, and end with the login they were opened by, which gives their places back', async () => {
    const login = await logIn(app);
    const streams = await Promise.all(Array.from({ length: 20 }, () => watch(login)));

    const refused = await refusalOf(watch(login));
    expect(refused).toMatchObject({
      code: 'KX_WATCH_LIMIT',
      message: expect.stringContaining('20 watches of one person are open'),
      hint: expect.stringContaining('close one'),
    });
    await fetch(`${app.apiUrl}/oauth/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'kontext-cli', token: login.refreshToken }),
    });
    const ends = streams.map(async (stream) => {
      while (!(await stream.next()).done);
    });
    const ended = await Promise.all(ends.map((end) => refusalOf(end)));
    expect(new Set(ended.map((detail) => detail?.code))).toEqual(new Set(['KX_UNAUTHENTICATED']));

    const again = await logIn(app);
    for (let opened20 = 0; opened20 < 20; opened20 += 1)
      await expect.poll(() => refusalOf(watch(again))).toBeNull();
    expect(await refusalOf(watch(again))).toMatchObject({ code: 'KX_WATCH_LIMIT' });
  });
});
