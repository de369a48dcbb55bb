import type { Decision, ToolCall } from '@kontext/policy';
import type { AgentAdapter, Answer } from '../agents/agent.ts';
import type { ApprovalOutcome, ApprovalQuestion } from './ask-approval.ts';
import { type CallHashes, createCallHashes } from './call-hashes.ts';
import type { ReadEvent } from './read-event.ts';

/** Asks a person about one call; the rest of the question is known to whoever made this. Never rejects. */
export type AskPerson = (
  question: Pick<ApprovalQuestion, 'call' | 'callHash' | 'rule' | 'policyVersion' | 'part' | 'toolUseId'> & {
    readonly shapeHash: Uint8Array;
  },
) => Promise<ApprovalOutcome>;

/** What the settling of asks depends on. */
export interface AskOptions {
  readonly agent: AgentAdapter;
  /** The agent was started where it can ask its user itself. */
  readonly interactive: boolean;
  /** Left out: there is no backend that could ask anybody. */
  readonly askPerson?: AskPerson;
  readonly nowMs: () => number;
  /**
   * Call and part as a person may see them; null when they could not be searched for secrets in time.
   *
   * @param part The part that decided, in words.
   */
  readonly show: (call: ToolCall, part: string) => { readonly call: ToolCall; readonly part: string } | null;
}

/** How a rule's ask is put to somebody, and what came of it. */
export type Settled =
  /** The agent asks its user. */
  | { readonly kind: 'agent'; readonly answer: Answer }
  | { readonly kind: 'approved'; readonly approvalId: string }
  | { readonly kind: 'denied'; readonly approvalId: string | null; readonly why: string };

/** A call that a rule asks about. */
export interface AskedCall {
  readonly call: ToolCall;
  readonly read: ReadEvent;
  readonly decision: Decision;
}

/** Settles asks of one session. */
export interface AskSettler {
  /** Whether the agent itself asks its user about this call; else a person is asked by {@link AskSettler.askPerson}. */
  byAgent(asked: AskedCall): boolean;
  /** The approval of this very call, when it was given within the last minute; null when there is none. */
  approvedJustNow(read: ReadEvent): string | null;
  askPerson(asked: AskedCall): Promise<Settled>;
}

/** The agent's own prompt follows the hook at once. */
const justNowMs = 60_000;
const maxRemembered = 1000;

/** Makes the settler of a session. */
export function createAskSettler(options: AskOptions): AskSettler {
  const { agent, interactive, askPerson, nowMs, show } = options;
  const hashes = createCallHashes();
  const approved = new Map<string, { readonly approvalId: string; readonly untilMs: number }>();
  const remember = (name: string, approvalId: string): void => {
    approved.delete(name);
    approved.set(name, { approvalId, untilMs: nowMs() + justNowMs });
    for (const oldest of approved.keys()) {
      if (approved.size <= maxRemembered) break;
      approved.delete(oldest);
    }
  };
  return {
    byAgent({ read, decision }) {
      const step = read.raw?.step;
      const canAsk = step === 'proposed' || step === 'permission';
      const permissionMode = read.raw?.permissionMode ?? null;
      return (
        decision.approver === null &&
        !decision.fourEyes &&
        interactive &&
        canAsk &&
        agent.asksIn(permissionMode)
      );
    },
    approvedJustNow(read) {
      if (read.raw === null) return null;
      const found = approved.get(nameOf(hashes, read.raw));
      return found !== undefined && found.untilMs >= nowMs() ? found.approvalId : null;
    },
    async askPerson(asked) {
      const { read, decision } = asked;
      const { raw } = read;
      if (askPerson === undefined || raw === null || decision.rule === null) {
        return denied(null, 'a person has to approve it, and nobody can be asked here');
      }
      const shown = show(asked.call, decision.part ?? asked.call.tool);
      if (shown === null) {
        return denied(null, 'a person has to approve it, and it could not be searched for secrets in time');
      }
      const outcome = await askPerson(await questionOf(hashes, asked, raw, shown));
      if (outcome.kind === 'approved') remember(nameOf(hashes, raw), outcome.approvalId);
      return settledBy(outcome);
    },
  };
}

type RawEvent = NonNullable<ReadEvent['raw']>;
type Shown = NonNullable<ReturnType<AskOptions['show']>>;

const nameOf = (hashes: CallHashes, raw: RawEvent): string => hashes.exact(raw).toString('base64');

async function questionOf(hashes: CallHashes, { call, decision }: AskedCall, raw: RawEvent, shown: Shown) {
  // Loaded with the engine, which has just decided.
  const { callShape } = await import('@kontext/policy');
  const rule = decision.rule ?? '';
  return {
    ...{ call: shown.call, rule, policyVersion: decision.policyVersion, part: shown.part },
    callHash: hashes.exact(raw),
    shapeHash: hashes.shape(rule, callShape(call)),
    toolUseId: call.event === 'PreToolUse' ? (raw.toolUse ?? undefined) : undefined,
  };
}

const denied = (approvalId: string | null, why: string): Settled => ({ kind: 'denied', approvalId, why });

function settledBy(outcome: ApprovalOutcome): Settled {
  switch (outcome.kind) {
    case 'approved':
      return outcome;
    case 'denied': {
      const { approvalId, reason } = outcome;
      return denied(approvalId, `a person decided against it${reason === '' ? '' : `: ${reason}`}`);
    }
    case 'waiting': {
      const { approvalId, url } = outcome;
      return denied(approvalId, `approval ${approvalId} is open at ${url}; approved? try again`);
    }
    case 'unavailable':
      return denied(null, `a person has to approve it, and that failed: ${outcome.why}`);
  }
}
