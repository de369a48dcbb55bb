import { Code } from '@connectrpc/connect';
import { LoginService } from '@kontext/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend, wireError } from '../rpc/test-backend.ts';
import { createTestServices } from '../session/test-services.ts';
import type { TestContext } from '../test-context.ts';
import {
  buildTestProgram,
  createLoggedInContext,
  type RunOptions,
  type TestProgram,
} from '../test-program.ts';

let program: TestProgram;
let backend: TestBackend;
let context: TestContext;
/** What RevokeLogins answers with: null is success. */
let refusal: string | null;
let revocations: number;

beforeAll(async () => {
  program = await buildTestProgram();
});
afterAll(() => program.close());
beforeEach(async () => {
  refusal = null;
  revocations = 0;
  backend = await startTestBackend((router) => {
    createTestServices().routes(router);
    router.rpc(LoginService.method.revokeLogins, () => {
      if (refusal !== null) {
        const confirm = { confirmationId: 'cnf_1', confirmUri: 'https://kontext.example/confirm/1' };
        throw wireError(refusal, 'end every login of yours', confirm, Code.Unauthenticated);
      }
      revocations += 1;
      return { loginsEnded: 3, sessionsEnded: 2, leasesEnded: 5 };
    });
  });
  context = await createLoggedInContext(backend.url);
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const kontext = (args: string, options?: RunOptions) => program.run(context, args.split(' '), options);

describe('status', () => {
  it('has pinned keys', async () => {
    const status = JSON.parse((await kontext('status --json')).stdout);
    expect(Object.keys(status).sort()).toEqual([
      ...[
        'apiUrl',
        'auditTrouble',
        'backend',
        'error',
        'issuer',
        'live',
        'loggedIn',
        'login',
        'loginStore',
        'org',
      ],
      ...['policyKeyPinned', 'role', 'session', 'spool', 'user'],
    ]);
    expect(Object.keys(status.login).sort()).toEqual([
      ...['absoluteExpiresAt', 'acr', 'address', 'authenticatedAt', 'createdAt', 'idleExpiresAt', 'machine'],
    ]);
    expect(status).toMatchObject({
      loggedIn: true,
      org: { id: 'org_1', name: 'Example', slug: 'example' },
      login: { machine: 'alice-mbp', acr: 'urn:kontext:acr:passcode' },
    });
  });

  it('says in words how old the login is, how it came about and when it ends', async () => {
    const { stdout } = await kontext('status');
    expect(stdout).toMatch(/organisation +Example \(example\)/);
    expect(stdout).toMatch(/logged in +3 days ago, with a passcode/);
    expect(stdout).toMatch(/expires +in 87 days\n +in 30 days when it is not used/);
  });

  it.each([
    ['account_suspended', 'KX_ACCOUNT_SUSPENDED', 77],
    ['login_revoked', 'KX_LOGIN_REVOKED', 77],
  ])(
    'of a login that ended by %s says so, exits with its code, and knows the backend is there',
    async (reason, code, exit) => {
      backend.oauth.refreshAnswers.push({
        status: 400,
        body: { error: 'invalid_grant', failure_reason: reason },
      });
      const { stdout, exitCode } = await kontext('status --json');
      const status = JSON.parse(stdout);
      expect(exitCode).toBe(exit);
      expect(status).toMatchObject({
        loggedIn: false,
        login: null,
        backend: { reachable: true },
        error: { code },
      });
    },
  );
});

describe('whoami', () => {
  it('names account, role and organisation on one line', async () => {
    expect(await kontext('whoami')).toMatchObject({
      exitCode: 0,
      stdout: 'usr_1@example.com (owner) of Example\n',
    });
  });

  it('has pinned keys as JSON', async () => {
    expect(JSON.parse((await kontext('whoami --json')).stdout)).toEqual({
      ...{ userId: 'usr_1', userName: 'usr_1@example.com', orgId: 'org_1', orgName: 'Example' },
      ...{ orgSlug: 'example', role: 'owner', groups: ['platform'] },
    });
  });

  it('says 77 when nobody is logged in, and 69 when the backend is away', async () => {
    const { url } = backend;
    await backend.close();
    expect((await kontext('whoami')).exitCode).toBe(69);
    backend = await startTestBackend();
    expect(url).not.toBe(backend.url);
    const nobody = await kontext(`whoami --api-url ${backend.url}`);
    expect(nobody).toMatchObject({ exitCode: 77, stdout: '' });
  });
});

describe('logout --all', () => {
  it('ends every login at the backend, says how much, and wipes the one of this machine', async () => {
    const result = await kontext('logout --all');
    expect(result.exitCode).toBe(0);
    expect(result.stderr).toContain('ended 3 login(s), 2 session(s), 5 credential(s)');
    expect(revocations).toBe(1);
    expect((await kontext('whoami')).stderr).toContain('KX_NOT_LOGGED_IN');
  });

  it('without a terminal shows the link to confirm, exits with 77 and ends nothing, here neither', async () => {
    refusal = 'KX_CONFIRMATION_NEEDED';
    const result = await kontext('logout --all');
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('https://kontext.example/confirm/1');
    expect(revocations).toBe(0);
    expect((await kontext('whoami')).exitCode).toBe(0);
  });

  it('is refused inside a session', async () => {
    const result = await kontext('logout --all', { env: { KONTEXT_SESSION_ID: 'ses_1' } });
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('KX_SESSION_REFUSED');
    expect(revocations).toBe(0);
  });
});
