/**
 * What a hook event means: decode, redact, read, decide, intent line, answer, record. In that order, each once.
 *
 * - Input that cannot be read whole is `opaque`: in observe it is recorded and nothing is said, in enforce an event
 *   that can block is denied.
 * - In enforce every failure on an event that can block denies: a call that cannot be read, policy that does not load or
 *   evaluate or takes too long, a full spool, an exception. In observe the same is recorded as would-deny, and the agent hears
 *   nothing.
 * - Where a rule asks for a person, the attempt is recorded before anybody is asked, and the decision once it is made.
 * - The record is written after the answer has been handed to the socket.
 */
import { denyText } from './answer-text.ts';
import { decideCall } from './decide-call.ts';
import type { HookReply, HookRequest } from './frames.ts';
import { furnishRoom, type HookCounts, type HookHandlerOptions } from './hook-room.ts';
import { readEvent } from './read-event.ts';
import { recordOther } from './record-other.ts';

/** Answers hooks. */
export interface HookHandler {
  handleHook(request: HookRequest): Promise<HookReply>;
  /** The answer when {@link HookHandler.handleHook} fails: closed in enforce, where the event can block. */
  onFailure(request: HookRequest, error: unknown): HookReply;
  readonly counts: Readonly<HookCounts>;
  /** Hands what is still to be recorded to the sink, at the end of a session. */
  settle(): void;
}

/** Makes the handler of one session. */
export function createHookHandler(options: HookHandlerOptions): HookHandler {
  const { agent, policy, redactor } = options;
  const room = furnishRoom(options);
  const isDecided = (event: string): boolean => decidedSteps.includes(agent.stepOf(event));

  const handleHook = async (request: HookRequest): Promise<HookReply> => {
    if (request.agent !== agent.name) throw new Error('another agent than the session was opened for');
    options.onEvent?.(request.event);
    const event = readEvent(agent, redactor, request);
    const agentSession = event.raw?.agentSession ?? null;
    if (agentSession !== null) options.onAgentSession?.(agentSession);
    if (isDecided(request.event)) {
      return agent.encodeAnswer(request.event, await decideCall(room, request, event));
    }
    recordOther(room, request, event);
    return agent.encodeAnswer(request.event, { kind: 'silent' });
  };

  return {
    handleHook,
    counts: room.counts,
    settle: room.later.drain,
    onFailure(request) {
      if (policy.mode !== 'enforce' || !isDecided(request.event)) {
        return agent.encodeAnswer(request.event, { kind: 'silent' });
      }
      const reason = denyText('the call could not be decided', null);
      return agent.encodeAnswer(request.event, { kind: 'deny', reason });
    },
  };
}

const decidedSteps: readonly string[] = ['proposed', 'permission', 'elicitation'];
