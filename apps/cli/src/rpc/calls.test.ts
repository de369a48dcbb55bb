import { Code, type ConnectRouter } from '@connectrpc/connect';
import { Mode, SessionService } from '@kontext/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { TestContext } from '../test-context.ts';
import { createLoggedInContext } from '../test-program.ts';
import { callPaths } from './calls.ts';
import { type Backend, openBackend } from './open-backend.ts';
import { startTestBackend, type TestBackend, wireError } from './test-backend.ts';
import { methodOf } from './test-calls.ts';

let opened: { agent: string; mode: Mode }[];
let hold: Promise<void> | undefined;
let failure: Error | undefined;
const routes = (router: ConnectRouter): void => {
  router.rpc(SessionService.method.openSession, async ({ agent, mode }) => {
    await hold;
    if (failure) throw failure;
    opened.push({ agent, mode });
    return { session: { id: 'ses_1', policyVersion: 9_007_199_254_740_993n }, orgName: 'Über & <b>' };
  });
};

let server: TestBackend;
let context: TestContext;
let backend: Backend;
beforeEach(async () => {
  opened = [];
  hold = undefined;
  failure = undefined;
  server = await startTestBackend(routes);
  context = await createLoggedInContext(server.url);
  backend = await openBackend(context);
});
afterEach(async () => {
  backend.close();
  context.close();
  await server.close();
});

const open = (options = {}) => backend.calls.openSession({ agent: 'claude', mode: 'MODE_ENFORCE' }, options);

describe('calls', () => {
  it('go to methods of the contract', () => {
    for (const path of Object.values(callPaths)) expect(methodOf(path).methodKind).toBe('unary');
  });

  it('are understood by Connect, and its answers by us', async () => {
    const answer = await open();
    expect(opened).toEqual([{ agent: 'claude', mode: Mode.ENFORCE }]);
    expect(answer).toEqual({
      session: { id: 'ses_1', policyVersion: '9007199254740993' },
      orgName: 'Über & <b>',
    });
  });

  it('share login and nonce with the clients of Connect', async () => {
    await open();
    const clients = await backend.connect();
    expect((await clients.organisation.getCaller({})).userId).toBe('usr_1');
    expect(server.oauth.refreshes).toHaveLength(1);
  });

  it('are repeated with the nonce of the backend when the clock of this machine is wrong', async () => {
    server.clockOffsetMs = -7_200_000;
    server.oauth.requireNonce = true;
    await open();
    expect(opened).toHaveLength(1);
  });

  it('refresh the token once when the backend refuses it, then give up', async () => {
    server.refuseWith = 'KX_UNAUTHENTICATED';
    await expect(open()).rejects.toMatchObject({ code: 'KX_UNAUTHENTICATED' });
    expect(server.oauth.refreshes).toHaveLength(2);
  });

  it('name the clock when a backend with another time refuses the login', async () => {
    server.clockOffsetMs = 3_600_000;
    server.oauth.requireNonce = true;
    server.refuseWith = 'KX_UNAUTHENTICATED';
    await expect(open()).rejects.toMatchObject({ code: 'KX_CLOCK_SKEW' });
  });

  it('carry code, hint and facts of an error', async () => {
    const more = { hint: 'do this', connectUri: 'https://kontext.example/c', retryAfterSeconds: 7 };
    failure = wireError('KX_AGENT_UNKNOWN', 'no such agent', more, Code.NotFound);
    await expect(open()).rejects.toMatchObject({
      ...{ code: 'KX_AGENT_UNKNOWN', message: 'no such agent', hint: 'do this' },
      details: { connect_uri: 'https://kontext.example/c', retry_after_seconds: 7 },
    });
  });

  it('end with the signal, without words', async () => {
    hold = new Promise(() => undefined);
    const controller = new AbortController();
    const calling = open({ signal: controller.signal });
    controller.abort();
    await expect(calling).rejects.toMatchObject({ name: 'Interrupted' });
    await expect(open({ signal: controller.signal })).rejects.toMatchObject({ name: 'Interrupted' });
  });

  it('end at their deadline', async () => {
    hold = new Promise(() => undefined);
    await expect(open({ timeoutMs: 50 })).rejects.toMatchObject({
      code: 'KX_BACKEND_UNREACHABLE',
      why: 'no answer came in time',
    });
  });
});
