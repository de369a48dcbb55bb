/**
 * Everything that hears a session's tool calls: hook server, policy, spool, upload. Opened before the agent, closed
 * after it, whatever happened between.
 */
import { dirname, join } from 'node:path';
import type { CallReader } from '@kontext/policy';
import type { Redactor } from '@kontext/redaction';
import type { AgentAdapter, LaunchPlan } from '../agents/agent.ts';
import type { ActivePolicy } from '../hooks/active-policy.ts';
import type { Actor } from '../hooks/build-call.ts';
import type { CallFacts } from '../hooks/call-facts.ts';
import { createHookHandler } from '../hooks/decide-and-record.ts';
import type { HookReply, HookRequest } from '../hooks/frames.ts';
import type { HookClientPath } from '../hooks/hook-client-path.ts';
import type { HookCounts } from '../hooks/hook-room.ts';
import { createHookServer, type HookServer, type HookServerOptions } from '../hooks/hook-server.ts';
import { countMissedHooks } from '../hooks/missed-hooks.ts';
import { createRecordRedactor, type PayloadSetting, payloadText } from '../hooks/payload-text.ts';
import { createSettingsGuard } from '../hooks/settings-guard.ts';
import type { AskPerson } from '../hooks/settle-ask.ts';
import { createSpool, type Spool, type SpoolFacts } from '../spool/spool.ts';
import { logUpload, toTrouble } from '../spool/upload-log.ts';
import { type AppendAnswer, type AppendBatch, createUploader, type UploadState } from '../spool/uploader.ts';
import { createStartWait } from './await-start.ts';
import { writeHookSettings } from './hook-settings.ts';

/** Where events go: a spool that is uploaded, or a record that stays on this machine. */
export type EventStore =
  | {
      readonly spool: { readonly root: string; readonly key: Uint8Array; readonly facts: SpoolFacts };
      readonly append: (batch: AppendBatch) => Promise<AppendAnswer>;
    }
  | { readonly record: Spool };

/** What a session's hooks are made of. */
export interface SessionHooksOptions {
  readonly adapter: AgentAdapter;
  readonly plan: LaunchPlan;
  readonly actor: Actor;
  readonly policy: ActivePolicy;
  /** Loads the reader of calls; default that of the policy package. */
  readonly loadReader?: () => Promise<CallReader>;
  /** What is known of the machine; default nothing. */
  readonly facts?: CallFacts;
  /** The agent can ask its user itself. Default false. */
  readonly interactive?: boolean;
  /** Asks a person by way of the backend; left out: a rule that wants one denies. */
  readonly askPerson?: AskPerson;
  /** Directory the agent is started in; its settings are watched. Left out: none are. */
  readonly project?: string;
  readonly redactor: Redactor;
  /** What is kept of payloads from now on. Default `summary`. */
  readonly payloads?: () => PayloadSetting;
  readonly runtimeDir: string;
  readonly maxWaitMs: number;
  readonly client: HookClientPath;
  /** The user's own. */
  readonly environment: Readonly<Record<string, string>>;
  readonly sink: EventStore;
  /** The agent has begun before: the first event of a run is not to come any more. Default false. */
  readonly isUnderWay?: boolean;
  /** How to listen; a server of its own when left out. The daemon listens once for all its sessions. */
  readonly listen?: (options: HookServerOptions) => Promise<HookServer>;
  /** Answers programs of the session that ask for credentials; left out: they are refused. */
  readonly handleCredential?: (request: HookRequest, sink: Spool) => Promise<HookReply>;
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
  /** Hash of the hook configuration as it is now, for heartbeats; another one once the settings file was changed. */
  configHash(): string;
  /**
   * Waits for the first hook; warns once when none was called within so many milliseconds. That the run's first event did
   * not come is recorded, once: after that time, or after two minutes where the agent may be asking its user first.
   *
   * @returns Stops waiting.
   */
  expectFirstEvent(withinMs: number, on: { onFirst(): void; warn(): void }): () => void;
  /** Whether the settings file still holds what was written; false is recorded, once. */
  checkSettings(): boolean;
  /** How the upload is doing, and the last trouble it had. */
  readonly upload: () => UploadState;
  /** How often the upload came to a halt; each change stands in `uploads.log` of the state directory. */
  readonly pauses: () => number;
  /** Hooks that failed and let the call run; each left a line. */
  countMissed(): number;
  /** Sends what waits, for at most so long; the rest stays for the next run. @returns Whether all was sent. */
  close(flushMs: number): Promise<boolean>;
}

/** @throws KontextError `KX_SOCKET_FAILED`, `KX_SPOOL_CORRUPT`. */
export async function openSessionHooks(options: SessionHooksOptions): Promise<SessionHooks> {
  const { adapter, plan, policy, interactive = false, listen = createHookServer, handleCredential } = options;
  const { spool, uploader, upload, pauses } = openStore(options.sink);
  const start = createStartWait(adapter.startEvent);
  if (options.isUnderWay) start.note(adapter.startEvent);
  const agentSessions = new Set<string>();
  // The answer of a hook that fails is settled when the agent starts.
  const startMode = policy.mode;
  let missedPath = '';
  const handler = createHookHandler({
    ...describeHandler(options, spool),
    watch: {
      failsOpen: startMode === 'observe',
      missed: () => countMissedHooks(missedPath),
      settings: guardSettings(options),
    },
    onEvent: start.note,
    onAgentSession: (id) => agentSessions.add(id),
  });
  const server = await listen({
    runtimeDir: options.runtimeDir,
    handleHook: handler.handleHook,
    ...(handleCredential ? { handleCredential: (request) => handleCredential(request, spool) } : {}),
    onFailure: handler.onFailure,
    // The daemon of `kontext setup` asks whose an agent is: what is decided here is not decided there again.
    describeSelf: () => ({ agentSessions: [...agentSessions] }),
  }).catch(async (error: unknown) => {
    await spool.close();
    throw error;
  });
  const { socketPath, directory } = server;
  missedPath = `${socketPath}.missed`;
  const { client, maxWaitMs, environment } = options;
  const settings = writeHookSettings(join(directory, 'settings.json'), adapter, plan, {
    ...{ nodePath: process.execPath, serverPid: process.pid, client, socketPath },
    ...{ maxWaitMs, mode: startMode, environment },
  });
  const note = (kind: 'tamper.settings_changed' | 'tamper.no_session_start'): void =>
    spool.intend({ kind })?.('{"schema":1}');
  let wasIntact = true;
  return {
    socketPath,
    args: adapter.launchArgs(plan, settings.path),
    counts: handler.counts,
    spool,
    noteLaunch(serverEventHash) {
      spool.noteServerEvent(serverEventHash);
      spool.intend({ kind: 'agent.event' })?.(launchPayload(plan));
    },
    upload,
    pauses,
    wasCalled: () => start.heard,
    expectFirstEvent(withinMs, { onFirst, warn }) {
      const record = (): void => note('tamper.no_session_start');
      const missing = { afterMs: interactive ? askedFirstMs : startedLateMs, record };
      return start.expect({ onFirst, warn: { afterMs: withinMs, warn }, missing });
    },
    configHash: settings.hash,
    checkSettings() {
      const isIntact = settings.isIntact();
      if (!isIntact && wasIntact) note('tamper.settings_changed');
      wasIntact = isIntact;
      return isIntact;
    },
    countMissed: () => [...countMissedHooks(missedPath).values()].reduce((a, b) => a + b, 0),
    async close(flushMs) {
      const startedAt = Date.now();
      await server.close();
      handler.settle();
      await spool.settle();
      await uploader.flush(Math.max(0, flushMs - (Date.now() - startedAt)));
      uploader.close();
      return spool.close();
    },
  };
}

/**
 * An agent that called no hook by then runs without them. The warning, and the renewals that wait for the first hook, come
 * sooner: they are taken back when a slow machine was the reason, and a mark of tampering is not.
 */
const startedLateMs = 30_000;
/** Longest time that a person may take for what an agent asks before it begins, such as whether to trust a folder. */
const askedFirstMs = 120_000;

function describeHandler(options: SessionHooksOptions, sink: Spool) {
  const { adapter, actor, policy, redactor, facts, askPerson, interactive = false } = options;
  return {
    ...{ agent: adapter, actor, policy, redactor, sink, interactive },
    loadReader: options.loadReader ?? loadReader,
    ...(facts === undefined ? {} : { facts }),
    ...(askPerson === undefined ? {} : { askPerson }),
    ...(options.payloads === undefined ? {} : { payloads: options.payloads }),
  };
}

const loadReader = async (): Promise<CallReader> => (await import('@kontext/policy')).createCallReader();

function guardSettings({ adapter, project, environment, facts }: SessionHooksOptions) {
  const places = { home: facts?.home ?? null, project: project ?? '', environment };
  const files = project === undefined ? [] : adapter.settingsFiles(places);
  return createSettingsGuard(files, adapter.guardedSettings);
}

/** Opens the spool and what sends it; a record that stays here offers nothing to send. */
function openStore(store: EventStore) {
  let state: UploadState = { kind: 'flowing' };
  let pauses = 0;
  const spool: Spool =
    'record' in store ? store.record : createSpool({ ...store.spool, onReady: () => uploader.notify() });
  const uploader = createUploader({
    source: spool.source,
    append: 'record' in store ? () => Promise.reject(new Error('nothing is sent')) : store.append,
    onState: (next) => {
      if (next.kind === 'waiting') pauses += 1;
      state = next;
      const at = new Date();
      const trouble = toTrouble(next, at);
      spool.noteTrouble(trouble);
      if ('spool' in store) logUpload(dirname(store.spool.root), store.spool.facts.session, { at, trouble });
    },
  });
  return { spool, uploader, upload: () => state, pauses: () => pauses };
}

/** Flags only, without values, which may hold anything; so may the word behind a short one. */
const launchPayload = ({ args }: LaunchPlan): string | null => {
  const flags = args.filter((arg) => /^--?[a-z]/i.test(arg)).map((arg) => arg.split('=', 1)[0]);
  return payloadText(createRecordRedactor(), { event: 'launch', flags: flags.slice(0, 100) });
};
