import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ConnectRouter } from '@connectrpc/connect';
import {
  ApprovalLifetime,
  type ApprovalSchema,
  ApprovalService,
  ApprovalState,
  WebhookService,
} from '@kontext/protocol';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend, wireError } from '../rpc/test-backend.ts';
import type { TestContext } from '../test-context.ts';
import { buildTestProgram, createLoggedInContext, type TestProgram } from '../test-program.ts';

const id = 'apr_1';
let program: TestProgram;
let backend: TestBackend;
let context: TestContext;
let approval: MessageInitShape<typeof ApprovalSchema>;
let decide: (() => void) | null;
let asked: { pending: boolean }[];
let waits: { use: boolean }[];
let added: { url: string; events: string[] }[];
let pingError: string;

const routes = (router: ConnectRouter): void => {
  router.service(ApprovalService, {
    listApprovals: (request) => {
      asked.push(request);
      return { approvals: [approval] };
    },
    getApproval: ({ approvalId }) => {
      if (approvalId !== id) throw wireError('KX_NOT_FOUND', 'there is no such request');
      return { approval };
    },
    waitApproval: (request) => {
      waits.push(request);
      decide?.();
      return { approval };
    },
  });
  router.service(WebhookService, {
    addWebhook: ({ url, events }) => {
      added.push({ url, events });
      return { webhook: { id: 'whk_1', url, events: ['approval.requested'] }, secret: 'whsec_c2VjcmV0' };
    },
    listWebhooks: () => ({
      webhooks: [{ id: 'whk_1', url: 'https://h.example/…abcd', events: ['approval.requested'], waiting: 3 }],
    }),
    removeWebhook: () => ({}),
    testWebhook: () => ({ status: pingError ? 0 : 204, error: pingError }),
  });
};

beforeAll(async () => {
  program = await buildTestProgram();
});
afterAll(() => program.close());
beforeEach(async () => {
  backend = await startTestBackend(routes);
  context = await createLoggedInContext(backend.url);
  approval = {
    ...{
      id,
      state: ApprovalState.PENDING,
      sessionId: 'ses_1',
      userName: 'ann',
      agent: 'claude',
      tool: 'Bash',
    },
    ...{ part: 'command npm publish\u202e', rule: 'acme.publish', policyVersion: 7n, mineToDecide: true },
    ...{ reason: 'it cannot be taken back', url: `${backend.url}/approvals/${id}` },
    expiresAt: timestampFromMs(Date.UTC(2026, 0, 1)),
  };
  [decide, asked, waits, added, pingError] = [null, [], [], [], ''];
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const kontext = (args: string, env: Record<string, string> = {}): Promise<CommandResult> =>
  program.run(context, args.split(' '), { env });

describe('requests', () => {
  it('lists what waits, and with --all the rest', async () => {
    const waiting = await kontext('requests ls');
    expect(waiting.stdout).toContain(id);
    expect(waiting.stdout).toContain('pending, yours to decide');
    expect(waiting.stdout).toContain('\\u202e');
    const [one] = JSON.parse((await kontext('requests ls --all --json')).stdout);
    expect(one).toMatchObject({ id, state: 'pending', user: 'ann', policyVersion: 7, approver: null });
    expect(asked.map(({ pending }) => pending)).toEqual([true, false]);
  });
});

describe('approve and deny', () => {
  it.each([
    ['approve apr_1', 'choose=once'],
    ['approve apr_1 --for session', 'choose=session'],
    ['deny apr_1 --reason no', 'choose=deny&reason=no'],
  ])('without a terminal only say where to decide: %s', async (args, query) => {
    const result = await kontext(`--no-input ${args}`);
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain(`${backend.url}/approvals/${id}?${query}`);
    expect(result.stderr).toContain('claude of ann asks: command npm publish\\u202e');
    expect(result.stderr).toContain('KX_APPROVAL_OPEN');
    expect(waits).toEqual([]);
  });

  it.each([
    ['approve apr_1', ApprovalState.APPROVED, 0, 'allowed (hour) by bob'],
    ['approve apr_1', ApprovalState.DENIED, 1, 'denied by bob'],
    ['deny apr_1 --reason no', ApprovalState.DENIED, 0, 'denied by bob'],
    ['deny apr_1 --reason no', ApprovalState.USED, 1, 'allowed'],
  ])('wait for the decision and use nothing: %s, %i', async (args, state, exitCode, said) => {
    decide = () => {
      if (waits.length < 2) return;
      const lifetime = state === ApprovalState.DENIED ? ApprovalLifetime.UNSPECIFIED : ApprovalLifetime.HOUR;
      approval = { ...approval, state, decidedByName: 'bob', lifetime };
    };
    const result = await kontext(`--wait-confirmation ${args}`);
    expect(result.stderr).toContain(said);
    expect(result.exitCode).toBe(exitCode);
    expect(waits.map(({ use }) => use)).toEqual([false, false]);
  });

  it('say when it expires while they wait', async () => {
    decide = () => {
      approval = { ...approval, state: ApprovalState.EXPIRED };
    };
    const result = await kontext('--wait-confirmation approve apr_1');
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('KX_APPROVAL_OVER');
  });

  it.each([
    ['was decided', { state: ApprovalState.DENIED }, 1, 'KX_APPROVAL_OVER'],
    ['is for somebody else', { mineToDecide: false, approver: 'payments' }, 77, 'payments decides it'],
  ])('refuse one that %s', async (_what, change, exitCode, said) => {
    approval = { ...approval, ...change };
    const result = await kontext('approve apr_1');
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toContain(said);
  });

  it.each([
    ['approve apr_2', 1, 'KX_NOT_FOUND'],
    ['approve apr_1 --for ever', 64, '--for is one of once, session, hour'],
    ['deny apr_1', 64, '--reason'],
  ])('refuse %s', async (args, exitCode, said) => {
    const result = await kontext(args);
    expect(result.exitCode).toBe(exitCode);
    expect(result.stderr).toContain(said);
  });

  it.each([
    'approve apr_1',
    'deny apr_1 --reason no',
    'webhooks add https://h.example/x',
    'webhooks rm whk_1',
  ])('do nothing inside a session: %s', async (args) => {
    const result = await kontext(args, { KONTEXT_SESSION_ID: 'ses_1' });
    expect(result.exitCode).toBe(77);
    expect(result.stderr).toContain('KX_SESSION_REFUSED');
  });
});

describe('webhooks', () => {
  it('shows the signing secret, and nothing else, on standard output', async () => {
    const result = await kontext('webhooks add https://h.example/x --event approval.requested');
    expect(result.stdout).toBe('whsec_c2VjcmV0\n');
    expect(added).toEqual([{ url: 'https://h.example/x', events: ['approval.requested'] }]);
    const json = await kontext('webhooks add https://h.example/y --json');
    expect(JSON.parse(json.stdout)).toMatchObject({ id: 'whk_1', secret: 'whsec_c2VjcmV0' });
  });

  it('lists, removes and tests', async () => {
    expect(JSON.parse((await kontext('webhooks ls --json')).stdout)).toMatchObject([
      { id: 'whk_1', waiting: 3 },
    ]);
    expect((await kontext('webhooks ls')).stdout).toContain('https://h.example/…abcd');
    expect((await kontext('webhooks rm whk_1')).stderr).toContain('removed whk_1');
    expect((await kontext('webhooks test whk_1')).stderr).toContain('it answered 204');
    pingError = 'it does not have a public address';
    const failed = await kontext('webhooks test whk_1');
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toContain(pingError);
  });
});
