/**
 * Everything that hears a session's tool calls: hook server, policy, spool, upload. Opened before the agent, closed
 * after it, whatever happened between.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redactor } from '@kontext/redaction';
import type { AgentAdapter, HookWiring, LaunchPlan } from '../agents/agent.ts';
import type { ActivePolicy } from '../hooks/active-policy.ts';
import { type Actor, createHookHandler, type HookCounts } from '../hooks/decide-and-record.ts';
import type { HookReply, HookRequest } from '../hooks/frames.ts';
import type { HookClientPath } from '../hooks/hook-client-path.ts';
import { createHookServer, type HookServer, type HookServerOptions } from '../hooks/hook-server.ts';
import { createSpool, type Spool, type SpoolFacts } from '../spool/spool.ts';
import { type AppendAnswer, type AppendBatch, createUploader, type UploadState } from '../spool/uploader.ts';

/** What a session's hooks are made of. */
export interface SessionHooksOptions {
  readonly adapter: AgentAdapter;
  readonly plan: LaunchPlan;
  readonly actor: Actor;
  readonly policy: ActivePolicy;
  readonly redactor: Redactor;
  readonly runtimeDir: string;
  readonly maxWaitMs: number;
  readonly client: HookClientPath;
  /** The user's own. */
  readonly environment: Readonly<Record<string, string>>;
  readonly spool: { readonly root: string; readonly key: Uint8Array; readonly facts: SpoolFacts };
  readonly append: (batch: AppendBatch) => Promise<AppendAnswer>;
  /** How to listen; a server of its own when left out. The daemon listens once for all its sessions. */
  readonly listen?: (options: HookServerOptions) => Promise<HookServer>;
  /** Answers programs of the session that ask for credentials. */
  readonly handleCredential: (request: HookRequest, sink: Spool) => Promise<HookReply>;
}

/** The open hooks of a session. */
export interface SessionHooks {
  readonly socketPath: string;
  /** Arguments to start the agent with. */
  readonly args: readonly string[];
  readonly counts: Readonly<HookCounts>;
  readonly spool: Spool;
  /**
   * Records the launch; call it before the agent is started.
   *
   * @param serverEventHash Newest event of the session's server stream (32 bytes), named by this first event.
   */
  noteLaunch(serverEventHash: Uint8Array): void;
  /** Whether the agent has called a hook. */
  wasCalled(): boolean;
  /**
   * Waits for the first hook; warns once when none was called within so many milliseconds.
   *
   * @returns Stops waiting.
   */
  expectFirstEvent(withinMs: number, on: { onFirst(): void; warn(): void }): () => void;
  /** Whether the settings file still holds what was written; false is recorded, once. */
  checkSettings(): boolean;
  /** How the upload is doing, and the last trouble it had. */
  readonly upload: () => UploadState;
  /** Hooks that failed and let the call run; each left a line. */
  countMissed(): number;
  /** Sends what waits, for at most so long; the rest stays for the next run. @returns Whether all was sent. */
  close(flushMs: number): Promise<boolean>;
}

/** @throws KontextError `KX_SOCKET_FAILED`, `KX_SPOOL_CORRUPT`. */
export async function openSessionHooks(options: SessionHooksOptions): Promise<SessionHooks> {
  const { adapter, plan, policy } = options;
  let upload: UploadState = { kind: 'flowing' };
  const spool = createSpool({ ...options.spool, onReady: () => uploader.notify() });
  const uploader = createUploader({
    source: spool.source,
    append: options.append,
    onState: (state) => {
      upload = state;
    },
  });
  let heard = (): void => undefined;
  let seen = false;
  const { actor, redactor, listen = createHookServer } = options;
  const agentSessions = new Set<string>();
  const handler = createHookHandler({
    agent: adapter,
    actor,
    policy,
    redactor,
    sink: spool,
    onEvent: () => {
      seen = true;
      heard();
    },
    onAgentSession: (id) => agentSessions.add(id),
  });
  const server = await listen({
    runtimeDir: options.runtimeDir,
    handleHook: handler.handleHook,
    handleCredential: (request) => options.handleCredential(request, spool),
    onFailure: handler.onFailure,
    // The daemon of `kontext setup` asks whose an agent is: what is decided here is not decided there again.
    describeSelf: () => ({ agentSessions: [...agentSessions] }),
  }).catch(async (error: unknown) => {
    await spool.close();
    throw error;
  });
  const { socketPath, directory } = server;
  const { client, maxWaitMs } = options;
  const settings = adapter.encodeSettings(plan, {
    nodePath: process.execPath,
    serverPid: process.pid,
    client,
    socketPath,
    maxWaitMs,
    mode: policy.mode,
    environment: options.environment,
  });
  const settingsPath = join(directory, 'settings.json');
  writeFileSync(settingsPath, settings, { mode: 0o400, flag: 'wx' });
  let settingsIntact = true;
  return {
    socketPath,
    args: adapter.launchArgs(plan, settingsPath),
    counts: handler.counts,
    spool,
    noteLaunch(serverEventHash) {
      spool.noteServerEvent(serverEventHash);
      spool.intend({ kind: 'agent.event' })?.(launchPayload(plan));
    },
    upload: () => upload,
    wasCalled: () => seen,
    expectFirstEvent(withinMs, { onFirst, warn }) {
      const timer = setTimeout(warn, withinMs);
      heard = () => {
        clearTimeout(timer);
        heard = () => undefined;
        onFirst();
      };
      return () => clearTimeout(timer);
    },
    checkSettings() {
      const intact = readText(settingsPath) === settings;
      if (!intact && settingsIntact) spool.intend({ kind: 'tamper.settings_changed' })?.('{"schema":1}');
      settingsIntact = intact;
      return intact;
    },
    countMissed: () => (readText(`${socketPath}.missed`) ?? '').split('\n').length - 1,
    async close(flushMs) {
      const startedAt = Date.now();
      await server.close();
      await spool.settle();
      await uploader.flush(Math.max(0, flushMs - (Date.now() - startedAt)));
      uploader.close();
      return spool.close();
    },
  };
}

/**
 * Hash of the hook configuration as the backend keeps it: of the settings without what differs from run to run.
 *
 * @returns 64 hex digits.
 */
export function hashHookConfig(adapter: AgentAdapter, plan: LaunchPlan): string {
  const neutral: HookWiring = {
    nodePath: '',
    client: { kind: 'twin', path: '' },
    socketPath: '',
    serverPid: 0,
    maxWaitMs: 0,
    mode: 'observe',
    environment: {},
  };
  return createHash('sha256').update(adapter.encodeSettings(plan, neutral)).digest('hex');
}

/** Flags only, without values, which may hold anything. */
const launchPayload = ({ args }: LaunchPlan): string => {
  const flags = args.filter((arg) => /^--?[a-z]/i.test(arg)).map((arg) => arg.split('=', 1)[0]);
  return JSON.stringify({ schema: 1, event: 'launch', flags: flags.slice(0, 100) });
};

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
