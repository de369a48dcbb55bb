import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { logIn } from '../login/log-in.ts';
import { startTestBackend } from '../rpc/test-backend.ts';
import { createTestContext, type TestContext, type TestContextOptions } from '../test-context.ts';
import { showOverview } from './overview.ts';

const contexts: TestContext[] = [];
const make = (options: TestContextOptions = {}) => {
  const context = createTestContext(options);
  contexts.push(context);
  return context;
};
afterEach(() => {
  for (const context of contexts.splice(0)) context.close();
});

describe('kontext without arguments', () => {
  it('says to log in when nobody is', async () => {
    const context = make();
    expect(await showOverview(context)).toBe(0);
    expect(context.stdout()).toMatch(/account +nobody is logged in\n[\s\S]*next +run `kontext login`/);
  });

  it('says to start the agent when all is there, and sends no request', async () => {
    const backend = await startTestBackend();
    const context = make({ apiUrl: backend.url });
    (await logIn(context, { browser: false })).close();
    await backend.close();
    writeFileSync(join(context.home, '.env.kontext'), '');
    await showOverview(context);
    expect(context.stdout()).toMatch(/account +usr_1@example.com/);
    expect(context.stdout()).toContain('run `kontext start --agent claude`');
  });

  it('names what keeps the login from being read', async () => {
    const env = { KONTEXT_LOGIN_STORE: 'keyring', DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nonexistent/bus' };
    const context = make({ env });
    await showOverview(context);
    expect(context.stdout()).toContain('the OS keyring cannot be used');
  });
});
