import { createRouterTransport } from '@connectrpc/connect';
import type { ToolCall } from '@kontext/policy';
import { ApprovalService, ApprovalState } from '@kontext/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { rpcError } from '../rpc/rpc-error.ts';
import { wireError } from '../rpc/test-backend.ts';
import { createTestCalls } from '../rpc/test-calls.ts';
import { type ApprovalQuestion, askApproval } from './ask-approval.ts';
import { clipCall } from './clip-call.ts';

const call: ToolCall = {
  ...{ schema: 2, agent: 'claude', agentVersion: '2.0', event: 'PreToolUse', tool: 'Bash' },
  ...{ input: { command: 'npm publish' }, command: 'npm publish', cwd: '/home/dev/shop' },
  ...{ parts: [{ kind: 'tool', name: 'Bash' }], permissionMode: 'default', subagent: null, opaque: [] },
  ...{ repository: null, credentials: [], atMs: 0, user: 'usr_1', org: 'org_1', session: 'ses_1' },
  ...{ groups: [], role: 'member' },
};
const apr = 'apr_1';
const url = `http://127.0.0.1:1/approvals/${apr}`;

/** A backend in memory: a test says what each look finds. */
class Backend {
  state: ApprovalState = ApprovalState.PENDING;
  decisionReason = '';
  asked: { rule: string; policyVersion: bigint; callHash: Uint8Array; call: string; part: string }[] = [];
  waits: { waitSeconds: number; use: boolean }[] = [];
  onAsk: () => void = () => undefined;
  onWait: () => void | Promise<void> = () => undefined;

  private answer() {
    const { state, decisionReason } = this;
    return { approval: { id: apr, state, decisionReason, url } };
  }

  calls() {
    const transport = createRouterTransport((router) =>
      router.service(ApprovalService, {
        requestApproval: (request) => {
          this.asked.push(request);
          this.onAsk();
          return this.answer();
        },
        waitApproval: async (request) => {
          this.waits.push(request);
          await this.onWait();
          return this.answer();
        },
      }),
    );
    const { requestApproval, waitApproval } = createTestCalls(transport);
    // As the real calls do, errors are explained.
    const explained =
      <A extends unknown[], R>(make: (...args: A) => Promise<R>) =>
      (...args: A) =>
        make(...args).catch((error: unknown) => {
          throw rpcError(error, 'http://127.0.0.1:1');
        });
    return { requestApproval: explained(requestApproval), waitApproval: explained(waitApproval) };
  }
}

describe('asking for an approval', () => {
  let backend: Backend;
  let session: AbortController;
  beforeEach(() => {
    backend = new Backend();
    session = new AbortController();
  });
  const ask = (change: Partial<ApprovalQuestion> = {}) =>
    askApproval({
      ...{ calls: backend.calls(), sessionId: 'ses_1', call, rule: 'acme.publish', policyVersion: 7 },
      ...{ callHash: Buffer.alloc(32, 1), shapeHash: Buffer.alloc(32, 2), part: 'command npm publish' },
      ...{ signal: session.signal, ...change },
    });

  it('goes on when the call was approved before', async () => {
    backend.state = ApprovalState.APPROVED;
    expect(await ask()).toEqual({ kind: 'approved', approvalId: apr });
    expect(backend.waits).toEqual([]);
    const [sent] = backend.asked;
    expect(sent).toMatchObject({ rule: 'acme.publish', policyVersion: 7n, part: 'command npm publish' });
    expect(Buffer.from(sent?.callHash ?? [])).toEqual(Buffer.alloc(32, 1));
    expect(JSON.parse(sent?.call ?? '')).toEqual(call);
  });

  it('waits for the decision, and uses it', async () => {
    backend.onWait = () => {
      if (backend.waits.length === 2) backend.state = ApprovalState.APPROVED;
    };
    expect(await ask()).toEqual({ kind: 'approved', approvalId: apr });
    expect(backend.waits.map(({ use, waitSeconds }) => [use, waitSeconds])).toEqual([
      [true, 20],
      [true, 20],
    ]);
  });

  it('says what the person wrote who denied', async () => {
    backend.decisionReason = 'not on a Friday';
    backend.onWait = () => {
      backend.state = ApprovalState.DENIED;
    };
    expect(await ask()).toEqual({ kind: 'denied', approvalId: apr, reason: 'not on a Friday' });
  });

  it('leaves the question open when nobody decides within the budget', async () => {
    expect(await ask({ budgetMs: 900 })).toEqual({ kind: 'waiting', approvalId: apr, url });
  });

  it('asks again when an identical call used the approval first', async () => {
    backend.onWait = () => {
      backend.state = ApprovalState.USED;
    };
    backend.onAsk = () => {
      if (backend.asked.length === 2) backend.state = ApprovalState.APPROVED;
    };
    expect(await ask()).toEqual({ kind: 'approved', approvalId: apr });
    expect(backend.asked).toHaveLength(2);
  });

  it.each([
    ['a question that expired', ApprovalState.EXPIRED, 'unavailable'],
    ['a state it does not know', 77 as ApprovalState, 'denied'],
    ['no state', ApprovalState.UNSPECIFIED, 'denied'],
  ])('takes %s for no approval', async (_what, state, kind) => {
    backend.state = state;
    expect(await ask()).toMatchObject({ kind });
  });

  it('is unavailable when the backend refuses or cannot be reached', async () => {
    backend.onAsk = () => {
      throw wireError('KX_APPROVAL_RULE', 'no rule asks for this approval');
    };
    expect(await ask()).toEqual({
      kind: 'unavailable',
      why: 'no rule asks for this approval (KX_APPROVAL_RULE)',
    });
    backend.onAsk = () => {
      throw new Error('nobody there');
    };
    expect(await ask()).toMatchObject({ kind: 'unavailable' });
  });

  it('waits through a backend that is away for a moment', async () => {
    backend.onWait = () => {
      if (backend.waits.length === 1) throw wireError('KX_TEMPORARY', 'busy');
      backend.state = ApprovalState.APPROVED;
    };
    expect(await ask()).toEqual({ kind: 'approved', approvalId: apr });
  });

  it('ends with the session', async () => {
    backend.onWait = () => {
      session.abort();
      return new Promise(() => undefined);
    };
    expect(await ask()).toEqual({ kind: 'unavailable', why: 'the session ended' });
    expect(await ask()).toEqual({ kind: 'unavailable', why: 'the session ended' });
  });

  it('sends text that can be stored, whatever the agent put into it', async () => {
    backend.state = ApprovalState.APPROVED;
    await ask({ part: `a\0b\ud800${'x'.repeat(5000)}`, toolUseId: '\udfff' });
    expect(backend.asked[0]?.part).toMatch(/^a\ufffdb\ufffdx+$/);
    expect(backend.asked[0]?.part).toHaveLength(4096);
  });
});

describe('the call that is sent', () => {
  it.each([
    ['a long command', { input: { command: 'x'.repeat(200_000) }, command: 'x'.repeat(200_000) }],
    ['many members', { input: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`k${i}`, i])) }],
    ['many texts', { input: Array.from({ length: 3_000 }, () => 'ü'.repeat(500)) }],
    [
      'nested lists',
      { input: Array.from({ length: 50 }, () => Array(50).fill(Array(50).fill('y'.repeat(90)))) },
    ],
  ])('fits, and says that it was shortened, for %s', (_what, change) => {
    const { text, clipped } = clipCall({ ...call, ...change });
    expect(clipped).toBe(true);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(64 * 1024);
    expect(JSON.parse(text)).toMatchObject({ schema: 2, tool: 'Bash' });
  });

  it('is whole where it fits', () => {
    expect(clipCall(call)).toEqual({ text: JSON.stringify(call), clipped: false });
  });
});
