import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, type ConnectRouter } from '@connectrpc/connect';
import { PolicyService } from '@kontext/protocol';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend, wireError } from '../rpc/test-backend.ts';
import { createTestContext, type TestContext } from '../test-context.ts';
import { buildTestProgram, createLoggedInContext, type TestProgram } from '../test-program.ts';

let program: TestProgram;
let backend: TestBackend;
let context: TestContext;
let pulled: bigint[];

const rule = '@id("a")\nforbid (principal, action, resource)\nwhen { context has nothing };\n';
const confirmable = (): never => {
  const more = { confirmUri: 'https://kontext.example/confirm/cnf_1', confirmationId: 'cnf_1' };
  throw wireError('KX_CONFIRMATION_NEEDED', 'version 2 is to hold', more, Code.Unauthenticated);
};
const routes = (router: ConnectRouter): void => {
  router.service(PolicyService, {
    getPolicyVersion: ({ version }) => {
      pulled.push(version);
      return { version: { version: version || 1n }, sources: { files: [{ name: 'a.cedar', text: rule }] } };
    },
    publishPolicy: confirmable,
  });
};

beforeAll(async () => {
  program = await buildTestProgram();
});
afterAll(() => program.close());
beforeEach(async () => {
  pulled = [];
  backend = await startTestBackend(routes);
  context = await createLoggedInContext(backend.url);
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const kontext = (args: string, env = {}): Promise<CommandResult> =>
  program.run(context, ['policy', ...args.split(' ')], { env });

describe('kontext policy', () => {
  it('takes --version for a version of the policy, not of the program', async () => {
    const result = await kontext('pull --version 7 mine');
    expect(result).toMatchObject({ exitCode: 0, stdout: '' });
    expect(pulled).toEqual([7n]);
    expect(readFileSync(join(context.home, 'mine', 'a.cedar'), 'utf8')).toBe(rule);
  });

  it('wants a publication to be confirmed in the browser, and says where', async () => {
    const result = await kontext('publish 2 --mode enforce --reason go');
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('open this link to confirm: https://kontext.example/confirm/cnf_1');
    expect(result.stderr).toContain(
      'kontext --wait-confirmation policy publish 2 --mode enforce --reason go',
    );
  });

  it.each([
    'push policies --reason x',
    'publish 2 --mode observe --reason x',
    'withdraw --group g --reason x',
    'restore 1',
  ])('refuses `%s` inside a session, before any request', async (args) => {
    const before = backend.calls.length;
    const result = await kontext(args, { KONTEXT_SESSION_ID: 'ses_1' });
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('KX_SESSION_REFUSED');
    expect(backend.calls.slice(before)).toEqual([]);
  });

  it.each(['publish 2 --mode observe', 'push policies', 'withdraw --reason x', 'explain', 'frobnicate'])(
    'refuses `%s` as it stands',
    async (args) => {
      expect(await kontext(args)).toMatchObject({ exitCode: 64, stdout: '' });
    },
  );

  it('checks and tests without login and network', async () => {
    const stranger = createTestContext();
    try {
      mkdirSync(join(stranger.home, 'policies'));
      const text = rule
        .replace('context has nothing', 'context.tool == "X"')
        .replace('action,', 'action == Action::"tool_call",');
      writeFileSync(join(stranger.home, 'policies', 'a.cedar'), text);
      const example = { name: 'x', rule: 'a', effect: 'deny', call: { tool: 'X' } };
      writeFileSync(
        join(stranger.home, 'policies', 'a.examples.json'),
        JSON.stringify({ v: 1, examples: [example] }),
      );
      const valid = await program.run(stranger, ['policy', 'validate']);
      expect([valid.exitCode, valid.stderr]).toEqual([0, expect.stringContaining('1 rules in 1 files')]);
      const tested = await program.run(stranger, ['policy', 'test', 'policies', '--policies', 'policies']);
      expect(tested).toMatchObject({ exitCode: 0 });
      expect(tested.stdout).toContain('ok 1 - policies/a.examples.json: x');
    } finally {
      stranger.close();
    }
  });
});
