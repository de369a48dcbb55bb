import { type ClientHttp2Session, connect } from 'node:http2';
import { createSelfSignedCertificate, findFreePort } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStore, testStores } from '../../store/test-stores.ts';
import { startTestApp, type TestApp } from '../../test-app.ts';

describe.each(testStores().slice(0, 1))('the app over HTTP/2 on $kind', ({ open }) => {
  let opened: TestStore;
  let app: TestApp;
  let session: ClientHttp2Session;
  let apiUrl: string;
  beforeAll(async () => {
    const tls = await createSelfSignedCertificate();
    opened = await open();
    const port = await findFreePort();
    apiUrl = `https://127.0.0.1:${port}`;
    app = await startTestApp(opened.store, {
      config: { apiUrl, local: true, tls, trustedProxies: [] },
      port,
    });
    session = connect(apiUrl, { ca: tls.cert });
  });
  afterAll(async () => {
    session?.destroy();
    await app?.close();
    await opened?.close();
  });

  const send = (method: string, path: string, form?: Record<string, string>) =>
    new Promise<{ status: number; headers: Record<string, unknown>; text: string }>((resolve, reject) => {
      const type = form ? { 'content-type': 'application/x-www-form-urlencoded' } : {};
      const stream = session.request({ ':method': method, ':path': path, ...type });
      let text = '';
      let headers: Record<string, unknown> = {};
      stream.on('response', (received) => {
        headers = received;
      });
      stream.on('data', (chunk) => {
        text += String(chunk);
      });
      stream.on('end', () => resolve({ status: Number(headers[':status']), headers, text }));
      stream.on('error', reject);
      stream.end(form ? new URLSearchParams(form).toString() : undefined);
    });

  it('serves metadata and device authorization', async () => {
    const metadata = await send('GET', '/oauth/.well-known/openid-configuration');
    expect(JSON.parse(metadata.text)).toMatchObject({
      issuer: `${apiUrl}/oauth`,
      token_endpoint: `${apiUrl}/oauth/token`,
    });
    const form = { client_id: 'kontext-cli', scope: 'openid offline_access kontext' };
    const started = await send('POST', '/oauth/device/auth', form);
    expect(JSON.parse(started.text), started.text).toMatchObject({ verification_uri: `${apiUrl}/activate` });
  });

  it('serves pages with a host-bound secure cookie and strict transport security', async () => {
    const page = await send('GET', '/login');
    expect(page.status).toBe(200);
    expect(String(page.headers['set-cookie'])).toMatch(
      /^__Host-kontext_browser=.*; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
    );
    expect(page.headers['strict-transport-security']).toBe('max-age=31536000');
  });
});
