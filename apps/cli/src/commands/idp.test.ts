import type { CommandResult } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend } from '../rpc/test-backend.ts';
import { createTestServices } from '../session/test-services.ts';
import type { TestContext } from '../test-context.ts';
import { buildTestProgram, createLoggedInContext, type TestProgram } from '../test-program.ts';

let program: TestProgram;
let backend: TestBackend;
let context: TestContext;

beforeAll(async () => {
  program = await buildTestProgram();
});
afterAll(() => program.close());
beforeEach(async () => {
  backend = await startTestBackend(createTestServices().routes);
  context = await createLoggedInContext(backend.url);
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const kontext = (args: string, env: Record<string, string> = {}): Promise<CommandResult> =>
  program.run(context, args.split(' '), { env });
const add = 'idp add okta --issuer https://acme.test --client-id kontext';

describe('identity providers and invitations on the command line', () => {
  it.each([
    ['an interval that is no number', `${add} --revalidate-seconds soon`, '--revalidate-seconds'],
    ['a group without a role', `${add} --group-role admins`, 'is not group=role'],
    ['a missing issuer', 'idp add okta --client-id kontext', '--issuer'],
  ])('refuses %s', async (_what, args, said) => {
    const result = await kontext(args);
    expect(result.exitCode).toBe(64);
    expect(result.stderr).toContain(said);
  });

  it('needs a secret on standard input where the provider wants one', async () => {
    const result = await kontext(add);
    expect(result.exitCode).toBe(64);
    expect(result.stderr).toContain('KX_SECRET_INVALID');
  });

  it.each([add, 'idp rm okta', 'invitations create a@b.test', 'invitations rm inv_1'])(
    'changes nothing inside a session: %s',
    async (args) => {
      const result = await kontext(args, { KONTEXT_SESSION_ID: 'ses_1' });
      expect(result.exitCode).toBe(77);
      expect(result.stderr).toContain('KX_SESSION_REFUSED');
    },
  );
});
