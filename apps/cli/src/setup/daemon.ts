/**
 * The daemon of `kontext setup`: a process per user that answers the hooks of agents started without `kontext start`.
 *
 * - It is started by the hooks that come before any tool call and ends itself when nothing has happened for a while, when
 *   another daemon has taken its place, and on SIGTERM; then its sessions are ended, too.
 * - It never answers for a newer kontext: when the program it was started from has been replaced on disk, it has the new one
 *   started and hands the request over to it.
 * - It keeps no secret on disk but the key of its socket, and hands out no credentials.
 */
import { statSync } from 'node:fs';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { findAdapter, findStandingHooks } from '../agents/agents.ts';
import type { Context } from '../context.ts';
import type { HookReply, HookRequest } from '../hooks/frames.ts';
import { createHookServer } from '../hooks/hook-server.ts';
import { parseInput } from '../hooks/parse-input.ts';
import { defaultMaxWaitMs } from '../session/session-run.ts';
import { cliVersion } from '../version.ts';
import { type Conversation, createAgentSessions } from './agent-sessions.ts';
import { sendRequest } from './ask-server.ts';
import { openAttachedSession } from './attached-session.ts';
import type { DaemonFacts } from './daemon-facts.ts';
import { daemonDirectory, daemonSocketPath, leavePlace, takePlace } from './daemon-place.ts';
import { type EnsureDaemonOptions, ensureDaemon } from './ensure-daemon.ts';
import { isHeardByStart } from './session-owner.ts';

/** What the daemon is run with. */
export interface DaemonOptions {
  /** Directory in which its place is; not always the configuration's, because managed settings name one for all users. */
  readonly runtimeDir: string;
  /** The program it was started from. */
  readonly program: string;
  /** Time without sessions and events after which it ends; default 30 minutes. */
  readonly idleMs?: number;
}

const tickMs = 1_000;

/** Runs until it is no longer needed. @throws KontextError `KX_SOCKET_FAILED`. */
export async function runDaemon(context: Context, options: DaemonOptions): Promise<number> {
  const { config, signal } = context;
  const { runtimeDir, program, idleMs = 30 * 60_000 } = options;
  const mode = config.mode ?? 'observe';
  const adapter = findAdapter('claude');
  const isReplaced = watchProgram(program);
  let lastAtMs = performance.now();
  let directory = '';
  const sessions = createAgentSessions({
    ...{ adapter, mode, endEvent: findStandingHooks(adapter.name).endEvent },
    open: ({ cwd, isUnderWay }) =>
      openAttachedSession(context, adapter, directory, { cwd: cwd ?? '/', isUnderWay }),
    isHeardElsewhere: (id) => isHeardByStart([runtimeDir, config.runtimeDir], directory, id),
  });
  const successor = { runtimeDir, mode, program, environment: config.environment };
  const handOver = createHandOver(successor, config.hookTimeoutMs ?? defaultMaxWaitMs);
  await loadEngines();
  const answering = new Set<Promise<HookReply>>();
  const server = await createHookServer({
    runtimeDir,
    // A session that is being opened takes the process for longer than a client waits by itself.
    firstHoldMs: 10_000,
    async handleHook(request) {
      lastAtMs = performance.now();
      const answer = isReplaced() ? handOver(request) : sessions.handle(findConversation(request), request);
      answering.add(answer);
      return answer.finally(() => answering.delete(answer));
    },
    onFailure: ({ event }) => {
      const blocks = mode === 'enforce';
      const reason =
        'kontext: denied: the call could not be decided; `kontext doctor --hook` says what is wrong';
      return adapter.encodeAnswer(event, blocks ? { kind: 'deny', reason } : { kind: 'silent' });
    },
    describeSelf: () => ({
      daemon: { version: cliVersion, pid: process.pid, mode, ...sessions.state } satisfies DaemonFacts,
    }),
  });
  directory = server.directory;
  takePlace(runtimeDir, directory);
  while (!signal.aborted && daemonDirectory(runtimeDir) === directory) {
    sessions.expire();
    if (sessions.state.sessions > 0) lastAtMs = performance.now();
    if (performance.now() - lastAtMs > idleMs) break;
    await sleep(tickMs, undefined, { signal }).catch(() => undefined);
  }
  leavePlace(runtimeDir, directory);
  await sessions.close();
  // The successor may still be asked what was handed over.
  await Promise.allSettled(answering);
  await nextTurn();
  await server.close();
  return 0;
}

/**
 * Compiles what decides and what speaks to the backend, before anybody can ask: it holds the process up for longer than a hook waits for its first answer.
 *
 * What cannot be loaded is met again, and said, by every decision.
 */
async function loadEngines(): Promise<void> {
  const { createCallReader, createPolicyEngine } = await import('@kontext/policy');
  await Promise.allSettled([createPolicyEngine(), createCallReader(), import('../rpc/connect-clients.ts')]);
}

/** Where the event belongs; searched for in the first bytes where the input cannot be read whole. */
function findConversation(request: HookRequest): Conversation | null {
  const parsed = parseInput(request);
  const isUnderWay = request.event !== findAdapter(request.agent).startEvent;
  try {
    if (parsed.ok) {
      const event = findAdapter(request.agent).decodeEvent(request.event, parsed.value);
      if (event.agentSession !== null) return { id: event.agentSession, cwd: event.cwd, isUnderWay };
    }
  } catch {
    // What cannot be decoded may still say where it belongs.
  }
  const head = Buffer.from(request.head.subarray(0, 4096)).toString('utf8');
  const id = findStandingHooks(request.agent).findSession(head);
  return id === null ? null : { id, cwd: null, isUnderWay };
}

/** An upgrade puts another file in the program's place, or another target behind a link to it. */
function watchProgram(program: string): () => boolean {
  const look = (): string | null => {
    const stat = statSync(program, { throwIfNoEntry: false });
    return stat === undefined ? null : `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeMs}`;
  };
  const first = look();
  return () => look() !== first;
}

/** Has the new program started, once for all requests that wait, and asks it. */
function createHandOver(options: Omit<EnsureDaemonOptions, 'notPid'>, maxWaitMs: number) {
  let successor: ReturnType<typeof ensureDaemon> | null = null;
  return async (request: HookRequest): Promise<HookReply> => {
    successor ??= ensureDaemon({ ...options, notPid: process.pid });
    try {
      await successor;
    } catch (error) {
      // The program may be half installed: the next request looks again.
      successor = null;
      throw error;
    }
    const { key: _, ...rest } = request;
    return sendRequest(daemonSocketPath(options.runtimeDir), rest, maxWaitMs);
  };
}
