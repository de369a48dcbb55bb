import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ConnectRouter } from '@connectrpc/connect';
import { AuditService, PayloadSetting } from '@kontext/protocol';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend, wireError } from '../rpc/test-backend.ts';
import type { TestContext } from '../test-context.ts';
import { buildTestProgram, createLoggedInContext, type TestProgram } from '../test-program.ts';

let program: TestProgram;
let backend: TestBackend;
let context: TestContext;
let asked: Record<string, unknown>[];
let held: bigint;

const note = (name: string, { $typeName: _, $unknown: __, ...fields }: Record<string, unknown>): void => {
  asked.push({ name, ...fields });
};
const settings = {
  ...{ payloads: PayloadSetting.FULL, retentionClass: 'days-30', changedBy: 'usr_1' },
  changedAt: timestampFromMs(Date.UTC(2026, 0, 1)),
  classes: [
    { name: 'standard', days: 0 },
    { name: 'days-30', days: 30 },
  ],
};
const routes = (router: ConnectRouter): void => {
  router.service(AuditService, {
    getAuditSettings: () => ({ settings }),
    setAuditSettings: (request) => {
      note('set', { ...request });
      if (request.retentionClass === 'x') throw wireError('KX_REQUEST_INVALID', 'there is no class "x"');
      return { settings };
    },
    erasePayloads: (request) => {
      note('erase', { ...request });
      return { erased: 3n, held };
    },
    holdPayloads: (request) => {
      note('hold', { ...request });
      return { payloads: 1n };
    },
  });
};

beforeAll(async () => {
  program = await buildTestProgram();
});
afterAll(() => program.close());
beforeEach(async () => {
  backend = await startTestBackend(routes);
  context = await createLoggedInContext(backend.url);
  [asked, held] = [[], 0n];
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const kontext = (args: readonly string[], env: Record<string, string> = {}): Promise<CommandResult> =>
  program.run(context, ['audit', ...args], { env });

describe('audit settings', () => {
  it('shows what is kept, for how long, and what there is to choose, and changes nothing', async () => {
    const { stdout, stderr, exitCode } = await kontext(['settings']);
    expect(exitCode).toBe(0);
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      'payloads  full',
      'keep      days-30, for 30 days',
      'changed   2026-01-01T00:00:00.000Z by usr_1',
    ]);
    expect(stderr).toContain('standard (until they are erased), days-30 (for 30 days)');
    expect(JSON.parse((await kontext(['settings', '--json'])).stdout)).toMatchObject({
      ...{ payloads: 'full', keep: 'days-30', changedBy: 'usr_1' },
      classes: [
        { name: 'standard', days: 0 },
        { name: 'days-30', days: 30 },
      ],
    });
    expect(asked).toEqual([]);
  });

  it('changes what is given and leaves the rest', async () => {
    await kontext(['settings', '--payloads', 'omitted']);
    await kontext(['settings', '--keep', 'standard']);
    await kontext(['settings', '--payloads', 'summary', '--keep', 'days-30']);
    expect(asked).toEqual([
      { name: 'set', payloads: PayloadSetting.OMITTED, retentionClass: '' },
      { name: 'set', payloads: PayloadSetting.UNSPECIFIED, retentionClass: 'standard' },
      { name: 'set', payloads: PayloadSetting.SUMMARY, retentionClass: 'days-30' },
    ]);
  });

  it.each([
    [['--payloads', 'all'], 64, 'KX_USAGE'],
    [['--payloads', ''], 64, 'KX_USAGE'],
    [['--keep', ''], 64, 'KX_USAGE'],
    [['--keep', 'x'], 64, 'KX_REQUEST_INVALID'],
  ])('refuses %j', async (args, exitCode, code) => {
    const result = await kontext(['settings', ...args]);
    expect(result.stderr).toContain(code);
    expect(result.exitCode).toBe(exitCode);
  });
});

describe('audit erase', () => {
  it.each([
    ['evt_1', 'eventId'],
    ['ses_1', 'sessionId'],
    ['usr_1', 'userId'],
  ])('%s erases by %s and says how much', async (id, field) => {
    const { stderr, exitCode } = await kontext(['erase', id, '--reason', 'a key slipped in']);
    expect(exitCode).toBe(0);
    expect(stderr).toContain(`erased 3 payloads of ${id}; headers, hashes and chains stay`);
    const none = { eventId: '', sessionId: '', userId: '' };
    expect(asked).toEqual([{ name: 'erase', ...none, [field]: id, reason: 'a key slipped in' }]);
  });

  it('says what was left because it is held', async () => {
    held = 1n;
    const { stderr } = await kontext(['erase', 'ses_1', '--reason', 'r']);
    expect(stderr).toContain('left because they are held: 1 payload');
    expect(JSON.parse((await kontext(['erase', 'ses_1', '--reason', 'r', '--json'])).stdout)).toEqual({
      ...{ erased: 3, held: 1 },
    });
  });

  it.each([
    [['con_1', '--reason', 'r'], 'that cannot be erased'],
    [['ses_1'], '--reason'],
  ])('refuses %j and asks nothing', async (args, said) => {
    const result = await kontext(['erase', ...args]);
    expect(result.exitCode).toBe(64);
    expect(result.stderr).toContain(said);
    expect(asked).toEqual([]);
  });
});

describe('audit hold', () => {
  it('holds and lets go', async () => {
    expect((await kontext(['hold', 'ses_1', '--reason', 'a case'])).stderr).toContain(
      'moved 1 payload of ses_1 to the hold; those to come follow',
    );
    const released = await kontext(['hold', 'ses_1', '--reason', 'over', '--release', '--json']);
    expect(JSON.parse(released.stdout)).toEqual({ payloads: 1 });
    expect(asked).toEqual([
      { name: 'hold', sessionId: 'ses_1', hold: true, reason: 'a case' },
      { name: 'hold', sessionId: 'ses_1', hold: false, reason: 'over' },
    ]);
  });
});

it.each([
  [['settings', '--payloads', 'omitted']],
  [['erase', 'ses_1', '--reason', 'r']],
  [['hold', 'ses_1', '--reason', 'r']],
])('inside a session `audit %j` is refused', async (args) => {
  const result = await kontext(args, { KONTEXT_SESSION_ID: 'ses_1' });
  expect(result.stderr).toContain('KX_SESSION_REFUSED');
  expect(result.exitCode).toBe(77);
  expect(asked).toEqual([]);
});
