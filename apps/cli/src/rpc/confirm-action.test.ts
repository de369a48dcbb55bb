import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import { KontextError } from '@kontext/errors';
import { ConfirmationService, ConfirmationState, ConnectionService } from '@kontext/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestContext, type TestContext, type TestContextOptions } from '../test-context.ts';
import { createLoggedInContext } from '../test-program.ts';
import { createConfirmAction } from './confirm-action.ts';
import { openBackend } from './open-backend.ts';
import { startTestBackend, type TestBackend, wireError } from './test-backend.ts';

const uri = 'http://127.0.0.1:1/confirm/token';
const refusal = new KontextError('KX_CONFIRMATION_NEEDED', 'confirm in the browser to add "x"', {
  details: { confirm_uri: uri, confirmation_id: 'cnf_1' },
});

describe('asking a person to confirm', () => {
  let context: TestContext;
  afterEach(() => context?.close());

  /** What the backend says, one after the other; the last again and again. */
  const states = (...said: ConfirmationState[]) => {
    let at = 0;
    return async () => ({ state: said[Math.min(at++, said.length - 1)] ?? 0, interval: 1 });
  };
  const ask = (
    look: ReturnType<typeof states>,
    options: TestContextOptions = { tty: true },
    config: { waitConfirmation?: boolean; args?: readonly string[] } = {},
  ) => {
    context = createTestContext(options);
    const { terminal, signal } = context;
    const confirm = createConfirmAction({ config: { ...context.config, ...config }, terminal, pollMs: 1 });
    return confirm({ refusal, look, signal });
  };
  const { PENDING, CONFIRMED, DENIED, EXPIRED, USED } = ConfirmationState;

  it('shows what and where, waits, and gives the id back', async () => {
    expect(await ask(states(PENDING, PENDING, CONFIRMED))).toBe('cnf_1');
    expect(context.stderr()).toContain('confirm in the browser to add "x"');
    expect(context.stderr()).toContain(uri);
    expect(context.stdout()).toBe('');
  });

  it.each([
    [DENIED, 'KX_CONFIRMATION_DENIED'],
    [EXPIRED, 'KX_CONFIRMATION_EXPIRED'],
    [USED, 'KX_CONFIRMATION_INVALID'],
  ])('ends with its own code for state %s', async (state, code) => {
    await expect(ask(states(PENDING, state))).rejects.toMatchObject({ code });
  });

  it('waits for nobody without a terminal: it says what to run instead', async () => {
    const args = ['secrets', 'put', "it's", '--shared'];
    await expect(ask(states(CONFIRMED), {}, { args })).rejects.toMatchObject({
      code: 'KX_CONFIRMATION_NEEDED',
      hint: "run `kontext --wait-confirmation secrets put 'it'\\''s' --shared` and open the link it prints",
    });
    expect(context.stderr()).toContain(uri);
  });

  it('waits without a terminal when it is told to', async () => {
    expect(await ask(states(PENDING, CONFIRMED), {}, { waitConfirmation: true })).toBe('cnf_1');
  });

  it('asks nobody inside a session', async () => {
    const options = { tty: true, env: { KONTEXT_SESSION_ID: 'ses_1' } };
    await expect(ask(states(CONFIRMED), options)).rejects.toMatchObject({ code: 'KX_SESSION_REFUSED' });
    expect(context.stderr()).not.toContain(uri);
  });

  it('ends at once when it is interrupted', async () => {
    const waiting = ask(states(PENDING));
    context.abort();
    await expect(waiting).rejects.toMatchObject({ name: 'Interrupted', exitCode: 130 });
  });

  it('survives a backend that is away for a moment, and nothing else', async () => {
    const answers = [
      () => Promise.reject(new KontextError('KX_BACKEND_UNREACHABLE', 'away')),
      () => Promise.resolve({ state: CONFIRMED, interval: 1 }),
    ];
    expect(await ask(async () => (await answers.shift()?.()) ?? { state: PENDING, interval: 1 })).toBe(
      'cnf_1',
    );
    const lost = () => Promise.reject(new KontextError('KX_NOT_FOUND', 'gone'));
    await expect(ask(lost)).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });

  it('opens the browser where there is a display and it may, and only then', async () => {
    const opened = async (env: Record<string, string>, flags: { browser?: boolean } = {}) => {
      context = createTestContext({ tty: true });
      const program = join(context.home, 'browser');
      writeFileSync(program, `#!/bin/sh\necho "$1" > ${context.home}/opened\n`, { mode: 0o755 });
      const { loadConfig } = await import('../config.ts');
      const config = loadConfig(flags, { ...context.config.environment, BROWSER: program, ...env });
      const confirm = createConfirmAction({ config, terminal: context.terminal, pollMs: 400 });
      await confirm({ refusal, look: states(PENDING, PENDING, CONFIRMED) });
      const path = join(context.home, 'opened');
      return existsSync(path) ? readFileSync(path, 'utf8').trim() : null;
    };
    expect(await opened({ DISPLAY: ':0' })).toBe(uri);
    expect(await opened({ DISPLAY: ':0' }, { browser: false })).toBeNull();
    expect(await opened({})).toBeNull();
  });
});

describe('a call that has to be confirmed', () => {
  let backend: TestBackend;
  let context: TestContext;
  const seen: { readonly id: string | null; readonly value: string }[] = [];
  beforeEach(async () => {
    seen.length = 0;
    backend = await startTestBackend(routes);
    context = await createLoggedInContext(backend.url);
  });
  afterEach(async () => {
    context.close();
    await backend.close();
  });

  const routes = (router: ConnectRouter) => {
    router.rpc(ConnectionService.method.putSecret, ({ value }, { requestHeader }) => {
      const id = requestHeader.get('kontext-confirmation');
      seen.push({ id, value });
      if (id === 'cnf_1') return {};
      const more = { confirmUri: uri, confirmationId: 'cnf_1' };
      throw wireError('KX_CONFIRMATION_NEEDED', 'confirm in the browser to x', more, Code.Unauthenticated);
    });
    router.rpc(ConfirmationService.method.getConfirmation, () => ({
      state: ConfirmationState.CONFIRMED,
      interval: 1,
    }));
  };

  it('is sent again, the same, with the confirmation', async () => {
    const config = { ...context.config, waitConfirmation: true };
    const opened = await openBackend({ config, terminal: context.terminal });
    const clients = await opened.connect();
    await clients.connections.putSecret({ provider: 'stripe', value: 'v' }, { signal: context.signal });
    opened.close();
    expect(seen).toEqual([
      { id: null, value: 'v' },
      { id: 'cnf_1', value: 'v' },
    ]);
  });

  it('fails with its refusal where nobody can be asked', async () => {
    const opened = await openBackend({ config: context.config, terminal: context.terminal });
    const clients = await opened.connect();
    const put = clients.connections.putSecret({ provider: 'stripe', value: 'v' });
    await expect(put).rejects.toMatchObject({
      code: 'KX_CONFIRMATION_NEEDED',
      details: { confirm_uri: uri, confirmation_id: 'cnf_1' },
    });
    opened.close();
    expect(seen).toHaveLength(1);
  });
});
