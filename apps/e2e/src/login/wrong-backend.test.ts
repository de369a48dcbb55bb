/**
 * What is at the other end is not a backend, or not today.
 *
 * Shown elsewhere, in `apps/cli/src`: more wrong servers, for login, refresh and call each (`rpc/rpc-errors.test.ts`),
 * clock skew with its own error code (`login/access-tokens.test.ts`).
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { logIn, startWorld, type World } from '../world.ts';

let world: World;
const servers: Server[] = [];

beforeAll(async () => {
  world = await startWorld({ upstream: false });
  const login = await logIn(world, ['--insecure-storage']);
  expect(login.exitCode).toBe(0);
});
afterAll(() => world?.close());
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function listen(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** A server with a certificate that nobody vouches for. */
function selfSigned(answer: RequestListener): { readonly server: Server; readonly certificate: string } {
  const [key, certificate] = ['key.pem', 'certificate.pem'].map((name) => join(world.home.root, name));
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const files = ['-keyout', key ?? '', '-out', certificate ?? ''];
  const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files];
  execFileSync('openssl', args, { stdio: 'ignore' });
  const pem = { key: readFileSync(key ?? ''), cert: readFileSync(certificate ?? '') };
  return { server: createTlsServer(pem, answer), certificate: certificate ?? '' };
}

const login = ['login', '--no-browser', '--insecure-storage'];

describe('a backend that is not running', () => {
  beforeAll(() => world.backend.stop());
  afterAll(() => world.restartBackend());

  it.each([[login], [['status']], [['connect', 'github']], [['audit', 'tail']]])(
    'is named with exit 69 and the command that starts one: %j',
    async (args) => {
      const { exitCode, stdout, stderr } = await world.cli(args);

      expect(exitCode).toBe(69);
      expect(stdout + stderr).toContain('KX_BACKEND_UNREACHABLE');
      expect(stdout + stderr).toContain('`kontext serve`');
    },
  );
});

it('a backend that was away and is back finds the login as it was', async () => {
  expect(await world.cli(['audit', 'verify'])).toMatchObject({ exitCode: 0 });
});

describe('a wrong URL', () => {
  it('where another program answers is named with exit 69', async () => {
    const port = await listen(createServer((_, response) => response.end('<h1>It works!</h1>')));

    const result = await world.cli(login, { env: { KONTEXT_API_URL: `http://127.0.0.1:${port}` } });

    expect(result.exitCode).toBe(69);
    expect(result.stderr).toContain('KX_NOT_A_BACKEND');
    expect(result.stderr).toContain('next: check KONTEXT_API_URL');
  });

  it('that is plain http to another machine is refused before a byte is sent', async () => {
    const result = await world.cli(login, { env: { KONTEXT_API_URL: 'http://backend.example' } });

    expect(result.exitCode).toBe(78);
    expect(result.stderr).toContain('KX_INSECURE_URL');
    expect(result.stderr).toContain('next: use an https URL');
  });

  it('under which the login is not known asks for a login there, and sends the login nowhere', async () => {
    let asked = 0;
    const port = await listen(
      createServer((_, response) => {
        asked += 1;
        response.end();
      }),
    );

    const result = await world.cli(['audit', 'verify', '--api-url', `http://127.0.0.1:${port}`], {
      env: { KONTEXT_LOGIN_STORE: 'file' },
    });

    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('KX_NOT_LOGGED_IN');
    expect(asked).toBe(0);
  });
});

describe('TLS', () => {
  it('with a certificate nobody vouches for is refused with exit 69 and the setting that helps', async () => {
    const port = await listen(selfSigned((_, response) => response.end()).server);

    const result = await world.cli(login, { env: { KONTEXT_API_URL: `https://127.0.0.1:${port}` } });

    expect(result.exitCode).toBe(69);
    expect(result.stderr).toContain('KX_TLS_FAILED');
    expect(result.stderr).toContain('self-signed');
    expect(result.stderr).toContain('NODE_EXTRA_CA_CERTS');
  });

  it('with a certificate that is vouched for by NODE_EXTRA_CA_CERTS goes on', async () => {
    const { server, certificate } = selfSigned((_, response) => response.end('not a backend, but trusted'));
    const port = await listen(server);
    const env = { KONTEXT_API_URL: `https://127.0.0.1:${port}`, NODE_EXTRA_CA_CERTS: certificate };

    const result = await world.cli(login, { env });

    expect(result.exitCode).toBe(69);
    expect(result.stderr).toContain('KX_NOT_A_BACKEND');
  });
});

describe('a clock', () => {
  /** Loaded into every Node process of the command, as if the machine's clock were wrong. */
  function shiftClock(byMs: number): Record<string, string> {
    const path = join(world.home.root, `shift${byMs}.cjs`);
    const script = `const real = Date.now; const Plain = Date; Date.now = () => real() + ${byMs};
      globalThis.Date = class extends Plain {
        constructor(...args) { super(...(args.length === 0 ? [Date.now()] : args)); }
        static now() { return real() + ${byMs}; }
      };`;
    writeFileSync(path, script);
    return { NODE_OPTIONS: `--require=${path}` };
  }

  it.each([
    ['an hour ahead', 3_600_000],
    ['an hour behind', -3_600_000],
  ])('that is %s keeps nobody from working, and status says how far off it is', async (_, offMs) => {
    const env = shiftClock(offMs);
    const shifted = { ...world, env: { ...world.env, ...env } };

    const loggedIn = await logIn(shifted, ['--insecure-storage']);
    const json = await world.cli(['status', '--json'], { env });
    const words = await world.cli(['status'], { env });

    expect(loggedIn.exitCode).toBe(0);
    expect(json.exitCode).toBe(0);
    const { clockSkewMs } = JSON.parse(json.stdout).backend;
    expect(Math.abs(clockSkewMs + offMs)).toBeLessThan(10_000);
    expect(words.stdout).toMatch(/off by -?3(59|60)\d s; please set it/);
  });
});
