/**
 * The conversations of agents that run without `kontext start`, each a session of its own.
 *
 * - A conversation is known by the agent's own id, which every event carries. The first event of an unknown one opens its
 *   session, whichever event it is: after a crash or an upgrade of the daemon it goes on in a new one.
 * - A conversation that a `kontext start` hears is left to it: no answer of ours, no record.
 * - What an ended conversation still says, such as a hook that ran beside its last one, opens nothing and is counted; its
 *   first event (it was resumed) or a call does.
 * - Events that cannot be blocked are answered at once and handled in their order, so that the agent does not wait for a
 *   session that is being opened. A call waits, because it is decided.
 * - Without a session: hooks that were set up to observe are silent and the event is counted; those that enforce deny, and
 *   name the next step. Opening is tried again after a while.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import type { AgentAdapter } from '../agents/agent.ts';
import type { HookReply, HookRequest } from '../hooks/frames.ts';
import type { AttachedSession } from './attached-session.ts';

/** What the sessions are made of. */
export interface AgentSessionsOptions {
  readonly adapter: AgentAdapter;
  /** The event with which a conversation ends. */
  readonly endEvent: string;
  /** What the hooks were set up with. */
  readonly mode: 'observe' | 'enforce';
  readonly open: (conversation: Conversation) => Promise<AttachedSession>;
  /** Whether a `kontext start` hears the conversation. */
  readonly isHeardElsewhere: (agentSession: string) => Promise<boolean>;
  /** Time after which a session that could not be opened is tried again; default 5,000. */
  readonly retryMs?: number;
  /** Time without an event after which a session is ended; default 4 hours. */
  readonly idleMs?: number;
  /** Time for which stragglers of an ended conversation are known; default 1 minute. */
  readonly stragglerMs?: number;
  /** Default 64. */
  readonly maxSessions?: number;
  /** Milliseconds on a clock that only goes forward. */
  readonly nowMs?: () => number;
}

/** What an event tells of where it belongs. */
export interface Conversation {
  /** The agent's own id. */
  readonly id: string;
  /** Directory the agent works in; null where the event does not say it. */
  readonly cwd: string | null;
  /** Whether the event that tells of it is another than the first of a run. */
  readonly isUnderWay: boolean;
}

/** See the file's comment. */
export interface AgentSessions {
  /** @param conversation Null where the event does not tell it. */
  handle(conversation: Conversation | null, request: HookRequest): Promise<HookReply>;
  /** Ends sessions that have rested too long. */
  expire(): void;
  /** Ends all. */
  close(): Promise<void>;
  readonly state: { readonly sessions: number; readonly unrecorded: number; readonly trouble: string | null };
}

type Opened =
  | { readonly kind: 'ours'; readonly session: AttachedSession }
  | { readonly kind: 'elsewhere' }
  | { readonly kind: 'refused'; readonly error: KontextError };

interface Known {
  opened: Promise<Opened>;
  openedAtMs: number;
  lastAtMs: number;
  isRefused: boolean;
}

/** Makes an empty set of sessions. */
export function createAgentSessions(options: AgentSessionsOptions): AgentSessions {
  const { adapter, mode, retryMs = 5_000, idleMs = 4 * 3_600_000, maxSessions = 64 } = options;
  const { stragglerMs = 60_000 } = options;
  const nowMs = options.nowMs ?? (() => performance.now());
  const conversations = new Map<string, Known>();
  const ending = new Set<Promise<void>>();
  const endedAtMs = new Map<string, number>();
  let unrecorded = 0;
  let trouble: KontextError | null = null;

  const open = async (conversation: Conversation): Promise<Opened> => {
    try {
      if (await options.isHeardElsewhere(conversation.id)) return { kind: 'elsewhere' };
      if (conversations.size > maxSessions) throw tooMany(maxSessions);
      const session = await options.open(conversation);
      trouble = null;
      return { kind: 'ours', session };
    } catch (cause) {
      const error = cause instanceof KontextError ? cause : unexpected(cause);
      trouble = error;
      const known = conversations.get(conversation.id);
      if (known !== undefined) known.isRefused = true;
      return { kind: 'refused', error };
    }
  };
  const find = (asked: Conversation): Known => {
    const known = conversations.get(asked.id);
    const now = nowMs();
    if (known !== undefined && !(known.isRefused && now - known.openedAtMs > retryMs)) {
      known.lastAtMs = now;
      return known;
    }
    const opened: Promise<Opened> = Promise.resolve().then(() => open(asked));
    const fresh: Known = { opened, openedAtMs: now, lastAtMs: now, isRefused: false };
    conversations.set(asked.id, fresh);
    return fresh;
  };
  const end = (id: string): void => {
    const conversation = conversations.get(id);
    conversations.delete(id);
    const ended = conversation?.opened.then(async (opened) => {
      // The record of the last event is written a turn after its answer.
      await nextTurn();
      if (opened.kind === 'ours') await opened.session.end();
    });
    if (ended === undefined) return;
    ending.add(ended);
    void ended.finally(() => ending.delete(ended));
  };
  /** Whether the event comes after its conversation's last, and is no reason to take that up again. */
  const isStraggler = ({ id, isUnderWay }: Conversation, event: string): boolean =>
    isUnderWay && endedAtMs.has(id) && !conversations.has(id) && !waits(adapter, event);
  const refuse = (request: HookRequest, error: KontextError): HookReply => {
    unrecorded += 1;
    const blocks = mode === 'enforce' && waits(adapter, request.event);
    return adapter.encodeAnswer(
      request.event,
      blocks ? { kind: 'deny', reason: denyText(error) } : { kind: 'silent' },
    );
  };
  const answer = async (request: HookRequest, opened: Opened): Promise<HookReply> => {
    if (opened.kind === 'elsewhere') return adapter.encodeAnswer(request.event, { kind: 'silent' });
    if (opened.kind === 'refused') return refuse(request, opened.error);
    const { handlers } = opened.session;
    return handlers.handleHook(request).catch((error: unknown) => handlers.onFailure(request, error));
  };

  return {
    async handle(conversation, request) {
      if (conversation === null) return refuse(request, unnamed());
      if (isStraggler(conversation, request.event)) {
        unrecorded += 1;
        return adapter.encodeAnswer(request.event, { kind: 'silent' });
      }
      const handled = find(conversation).opened.then((opened) => answer(request, opened));
      if (waits(adapter, request.event)) return handled;
      void handled.finally(() => {
        if (request.event !== options.endEvent) return;
        end(conversation.id);
        endedAtMs.set(conversation.id, nowMs());
      });
      return adapter.encodeAnswer(request.event, { kind: 'silent' });
    },
    expire() {
      for (const [id, { lastAtMs }] of conversations) if (nowMs() - lastAtMs > idleMs) end(id);
      for (const [id, atMs] of endedAtMs) if (nowMs() - atMs > stragglerMs) endedAtMs.delete(id);
    },
    async close() {
      for (const id of [...conversations.keys()]) end(id);
      await Promise.allSettled(ending);
    },
    get state() {
      return { sessions: conversations.size, unrecorded, trouble: trouble && describe(trouble) };
    },
  };
}

/** Whether the agent waits for what is answered: a call that may be blocked, a question that may be declined. */
const waits = (adapter: AgentAdapter, event: string): boolean =>
  ['proposed', 'permission', 'elicitation'].includes(adapter.stepOf(event));

const describe = ({ message, code }: KontextError): string => `${message} (${code})`;

const denyText = (error: KontextError): string =>
  `kontext: denied: no session can be opened: ${describe(error)}; ${error.hint}`;

const unnamed = (): KontextError =>
  new KontextError('KX_HOOK_INPUT', 'the event does not tell to which conversation it belongs');

const tooMany = (count: number): KontextError =>
  new KontextError('KX_DAEMON_FAILED', `more than ${count} conversations at once are not taken`, {
    hint: 'end agents that are no longer needed',
  });

const unexpected = (cause: unknown): KontextError =>
  new KontextError('KX_INTERNAL', 'the session could not be opened', { cause });
