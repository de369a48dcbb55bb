import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { isLoopbackAddress, isPublicAddress } from './public-address.ts';
import { createSafeFetch } from './safe-fetch.ts';

const servers: Server[] = [];
const serve = async (listener: RequestListener) => {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};
const local = createSafeFetch({ allowLoopback: true });
const strict = createSafeFetch({ allowLoopback: false });
const get = { method: 'GET' } as const;
const reason = (of: string) => ({ code: 'KX_PROVIDER_UNREACHABLE', details: { reason: of } });

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

describe('the safe fetch', () => {
  test('sends a body and gives the whole answer back', async () => {
    const url = await serve((request, response) => {
      response.setHeader('x-length', request.headers['content-length'] ?? '');
      request.pipe(response);
    });
    const answer = await local(`${url}/token`, { method: 'POST', body: 'grant_type=ä' });
    expect(answer).toMatchObject({ status: 200, headers: { 'x-length': '13' } });
    expect(answer.body.toString('utf8')).toBe('grant_type=ä');
  });

  test.each([
    'http://example.com/',
    'http://10.0.0.1/',
    'file:///etc/passwd',
    'ftp://example.com/',
    'not a url',
    '',
  ])('refuses %j, which is not https', async (url) => {
    await expect(local(url, get)).rejects.toMatchObject(reason('url'));
  });

  test('refuses plain http to loopback outside local mode', async () => {
    const url = await serve((_request, response) => void response.end());
    await expect(strict(url, get)).rejects.toMatchObject(reason('url'));
  });

  test.each([
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://10.1.2.3/',
    'https://169.254.169.254/',
    'https://0x7f.1/',
  ])('refuses the address in %s', async (url) => {
    await expect(strict(url, get)).rejects.toMatchObject(reason('address'));
  });

  test.each(['10.0.0.5', '169.254.169.254', '127.0.0.1', '::1', 'fd00::1', '::ffff:10.0.0.1'])(
    'refuses a name that leads to %s, at the moment of connecting',
    async (address) => {
      const resolve = async () => [{ address, family: address.includes(':') ? 6 : 4 }];
      const fetch = createSafeFetch({ allowLoopback: false, resolve });
      await expect(fetch('https://rebound.example/', get)).rejects.toMatchObject(reason('address'));
    },
  );

  test('calls a private address where the operator lists its host, for https alone', async () => {
    const resolve = async () => [{ address: '127.0.0.1', family: 4 }];
    const allowedHosts = ['idp.corp.test', '127.0.0.1:9', '127.0.0.2'];
    const fetch = createSafeFetch({ allowLoopback: false, allowedHosts, resolve });
    // Nobody listens there: that it failed in the network says that it was tried.
    for (const url of ['https://idp.corp.test:9/', 'https://127.0.0.1:9/', 'https://127.0.0.2:9/']) {
      await expect(fetch(url, get), url).rejects.toMatchObject(reason('network'));
    }
    for (const url of ['https://other.corp.test:9/', 'https://127.0.0.1:10/']) {
      await expect(fetch(url, get), url).rejects.toMatchObject(reason('address'));
    }
    await expect(fetch('http://idp.corp.test/', get)).rejects.toMatchObject(reason('url'));
  });

  test('follows no redirect', async () => {
    let calls = 0;
    const url = await serve((_request, response) => {
      calls += 1;
      response.writeHead(307, { location: '/elsewhere' }).end();
    });
    await expect(local(url, { method: 'POST', body: 'secret' })).rejects.toMatchObject(reason('redirect'));
    expect(calls).toBe(1);
  });

  test('gives up an answer beyond the cap, also one without an end', async () => {
    const url = await serve((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      };
      response.on('drain', more);
      more();
    });
    await expect(local(url, get)).rejects.toMatchObject(reason('too_large'));
  });

  test.each<[string, RequestListener]>([
    ['no answer', () => undefined],
    ['a body that drips', (_request, response) => void setInterval(() => response.write(' '), 20).unref()],
  ])('gives up on %s', async (_what, listener) => {
    const url = await serve(listener);
    await expect(local(url, { ...get, timeoutMs: 200 })).rejects.toMatchObject(reason('timeout'));
  });

  test('a closed port and a cut connection are network failures', async () => {
    const url = await serve((request) => request.socket.destroy());
    await expect(local(url, get)).rejects.toMatchObject(reason('network'));
    await expect(local('http://127.0.0.1:9/', get)).rejects.toMatchObject(reason('network'));
  });

  test('reads no proxy variable', async () => {
    const url = await serve((_request, response) => void response.end('direct'));
    const before = process.env.http_proxy;
    process.env.http_proxy = 'http://127.0.0.1:9';
    const answer = await local(url, get).finally(() => {
      if (before === undefined) delete process.env.http_proxy;
      else process.env.http_proxy = before;
    });
    expect(answer.body.toString()).toBe('direct');
  });
});

describe('addresses', () => {
  test.each(['1.1.1.1', '140.82.121.4', '2606:4700::1111'])('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  test.each([
    ...['0.0.0.0', '10.0.0.1', '100.64.0.1', '127.0.0.1', '169.254.1.1', '172.31.255.255', '192.168.0.1'],
    ...['198.18.0.1', '224.0.0.1', '255.255.255.255', '::', '::1', 'fe80::1', 'fc00::1', 'ff02::1'],
    ...['::ffff:1.1.1.1', '64:ff9b::101:101', '2002:a00:1::', '2001::1', '2001:db8::1', 'example.com', ''],
  ])('%s is not public', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  test('loopback is 127.0.0.0/8 and ::1', () => {
    expect(['127.0.0.1', '127.255.0.1', '::1'].every(isLoopbackAddress)).toBe(true);
    expect(['127.example.com', '::ffff:127.0.0.1', '10.0.0.1'].some(isLoopbackAddress)).toBe(false);
  });
});
