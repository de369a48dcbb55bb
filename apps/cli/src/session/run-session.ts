import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { listPlaceholders } from '@kontext/env-template';
import type { PolicyText } from '@kontext/policy';
import { createRedactor, type Redactor, type Secret } from '@kontext/redaction';
import type { AgentAdapter, LaunchPlan } from '../agents/agent.ts';
import type { Context } from '../context.ts';
import { createActivePolicy, raiseMode } from '../hooks/active-policy.ts';
import { askApproval } from '../hooks/ask-approval.ts';
import { hookClientPath } from '../hooks/hook-client-path.ts';
import type { HookServer, HookServerOptions } from '../hooks/hook-server.ts';
import type { AskPerson } from '../hooks/settle-ask.ts';
import { loadLocalPolicies } from '../policy/local-policies.ts';
import type { Backend } from '../rpc/open-backend.ts';
import { createSpoolKeyStore } from '../spool/spool-key.ts';
import { createWitness } from '../witness/witness.ts';
import { appendWitnessed } from './append-events.ts';
import { buildChildEnv, leaveOut } from './child-env.ts';
import { closeSession } from './close-session.ts';
import { hashHookConfig } from './hook-settings.ts';
import { keepSession } from './keep-session.ts';
import type { loadTemplate } from './load-template.ts';
import { type OpenSession, openSession } from './open-session.ts';
import { programPath } from './program-path.ts';
import { readRepository } from './read-repository.ts';
import { resolveOrAsk } from './resolve-or-ask.ts';
import { createSessionCredentials, type SessionCredentials } from './session-credentials.ts';
import { createSessionFacts, type SessionFacts } from './session-facts.ts';
import { openSessionHooks } from './session-hooks.ts';
import { describeStart } from './session-lines.ts';
import { spawnChild } from './spawn-agent.ts';
import { verifyPolicy } from './verify-policy.ts';

/** Longest wait of a hook, unless configured: a decision takes milliseconds, a person's approval up to three minutes. */
export const defaultMaxWaitMs = 190_000;

/** What is known before any login. */
export interface Preparation {
  readonly adapter: AgentAdapter;
  /** Absolute path of the agent. */
  readonly command: string;
  readonly plan: LaunchPlan;
  readonly template: ReturnType<typeof loadTemplate>;
}

/** What a session is run with. */
export interface SessionRun {
  readonly context: Context;
  readonly backend: Backend;
  readonly preparation: Preparation;
  /** `--allow-missing` */
  readonly allowMissing: boolean;
  /** Instead of starting the agent: for one that runs already and whose hooks reach us by another way. */
  readonly attached?: AttachedAgent;
}

/** An agent that somebody else has started. */
export interface AttachedAgent {
  /** Whether it has begun before, as it has when the daemon that heard it is gone. */
  readonly isUnderWay: boolean;
  /** Takes the session's handlers in place of a server of its own. */
  readonly listen: (options: HookServerOptions) => Promise<HookServer>;
  /** Called when its hooks are heard. @returns The exit code to record, once the agent is done. */
  readonly untilEnd: () => Promise<number>;
}

/**
 * Opens a session, runs the agent in it, ends it in every path.
 *
 * @returns The agent's exit code.
 */
export async function runSession(given: SessionRun): Promise<number> {
  const { context, backend, preparation } = given;
  const { config, signal } = context;
  const { adapter, plan } = preparation;
  // A keyring takes its time, too; what it says is heard where the spool is opened.
  const spoolKey = loadSpoolKey(context, backend);
  spoolKey.catch(() => undefined);
  const localPolicies = await loadLocalPolicies(config.configDir);
  const facts = createSessionFacts({ ...config, adapter, command: preparation.command });
  const terminal = { stdin: isatty(0), stdout: isatty(1) };
  // One that somebody else has started is taken at its word: asked where it cannot ask, it denies.
  const interactive = given.attached !== undefined || adapter.isInteractive(plan, terminal);
  const session = await openSession(backend.calls, {
    agent: adapter.name,
    agentVersion: facts.agentVersion(),
    mode: config.mode,
    hookConfigHash: hashHookConfig(adapter, plan),
    interactive,
    repository: readRepository(config.cwd),
    signal,
  });
  let exitCode = 1;
  const setExitCode = (code: number): void => {
    exitCode = code;
  };
  try {
    await runAgent({ ...given, session, facts, interactive, localPolicies, spoolKey, setExitCode });
  } finally {
    // Where hooks were open the session has been ended with them; then this does nothing.
    await session.end(exitCode);
  }
  return exitCode;
}

interface Run extends SessionRun {
  readonly session: OpenSession;
  readonly facts: SessionFacts;
  readonly interactive: boolean;
  /** Rules of this machine. */
  readonly localPolicies: readonly PolicyText[];
  readonly spoolKey: Promise<Buffer>;
  readonly setExitCode: (code: number) => void;
}

async function runAgent(run: Run): Promise<void> {
  const { context, backend, preparation, allowMissing, session } = run;
  const { config, terminal } = context;
  const { template, adapter, command } = preparation;
  const redactor = redactLater();
  const held = createSessionCredentials({
    ...{ calls: backend.calls, sessionId: session.id, template, hide: redactor.hide },
  });
  const resolving = resolveOrAsk({ context, backend, sessionId: session.id, template, allowMissing });
  // The hooks are opened while the backend works, once the request is on its way; what a failure leaves open is closed.
  const opening = nextTurn().then(() => openHooks(run, redactor, held));
  const [opened, resolved] = await Promise.allSettled([opening, resolving]);
  if (opened.status === 'rejected') throw opened.reason;
  const { hooks, policy, owner, spool, witness, stopAsking } = opened.value;
  if (resolved.status === 'rejected') {
    await hooks.close(0);
    throw resolved.reason;
  }
  const { credentials, serverEventHash } = resolved.value;
  redactor.hide([...credentials.values()].map(({ value }) => value));
  held.hold(credentials);
  run.facts.holds(providersOf(template, credentials));
  hooks.noteLaunch(serverEventHash.length > 0 ? serverEventHash : session.serverEventHash);
  const startedAtMs = Date.now();
  let exitCode = 1;
  try {
    const { env } = buildChildEnv({
      inherited: leaveOut(config.environment, adapter.clearedVariables),
      template,
      credentials,
      sessionId: session.id,
      socketPath: hooks.socketPath,
      program: [process.execPath, programPath()],
    });
    terminal.note(describeStart(credentials, policy.mode, session.id));
    const { calls } = backend;
    const kept = keepSession({
      ...{ session, calls, policy, owner, hooks, spool, witness, terminal },
      watchPolicy: (signal) => watchPolicy(backend, signal),
      ...{ renewals: held.renewals, forget: held.forget },
      runtimeDir: config.runtimeDir,
    });
    const onSpawn = (): void => {
      kept.onSpawn();
      redactor.warmUp();
      void run.facts.version.learn();
    };
    context.releaseSignals();
    const running = run.attached
      ? attach(run.attached, onSpawn)
      : spawnChild({ command, args: hooks.args, env, onSpawn });
    exitCode = await running.finally(kept.stop);
    run.setExitCode(exitCode);
  } finally {
    stopAsking();
    await closeSession({ session, hooks, exitCode, startedAtMs, terminal });
    const trouble = witness.close();
    if (trouble !== null) terminal.error(trouble);
  }
}

const providersOf = (template: Preparation['template'], credentials: ReadonlyMap<string, unknown>) =>
  listPlaceholders(template.entries).flatMap(({ key, provider }) => (credentials.has(key) ? [provider] : []));

/** The one stream of a session, and what loads Connect: it is opened when the agent runs already. */
async function* watchPolicy(backend: Backend, signal: AbortSignal) {
  const { policies } = await backend.connect();
  // No deadline: it lives as long as the session.
  yield* policies.watchPolicy({}, { signal, timeoutMs: 0 });
}

function attach(agent: AttachedAgent, onSpawn: () => void): Promise<number> {
  onSpawn();
  return agent.untilEnd();
}

/** Policy verified, hook server listening, spool open: all but the secrets to redact, which are being resolved. */
async function openHooks(run: Run, redactor: Redactor, held: SessionCredentials) {
  const { context, backend, preparation, session } = run;
  const { config } = context;
  const { adapter, plan } = preparation;
  const owner = {
    apiUrl: config.apiUrl,
    orgId: session.orgId,
    policyKey: backend.login.policyKey,
    stateDir: config.stateDir,
  };
  const [verified, key] = await Promise.all([verifyPolicy(session.snapshot, owner), run.spoolKey]);
  const floor = raiseMode(session.mode, config.mode);
  const reader = loadOnce(async () => (await import('@kontext/policy')).createCallReader());
  const loadEngine = async () => {
    const { createPolicyEngine } = await import('@kontext/policy');
    const engine = await createPolicyEngine();
    // Both are needed for the first call; its own wait is the one that hears of a failure.
    reader().catch(() => undefined);
    return engine;
  };
  const policy = createActivePolicy(verified, floor, loadEngine, { local: run.localPolicies });
  const ended = new AbortController();
  const maxWaitMs = config.hookTimeoutMs ?? defaultMaxWaitMs;
  const spool = { root: join(config.stateDir, 'spool'), key, facts: spoolFacts(run) };
  const witness = createWitness({
    calls: backend.calls,
    owner: { ...owner, logKey: backend.login.logKey ?? '' },
  });
  const hooks = await openSessionHooks({
    adapter,
    plan,
    policy,
    actor: {
      ...{ user: session.userId, org: session.orgId, session: session.id },
      ...{ groups: session.groups, role: session.role },
    },
    loadReader: reader,
    facts: run.facts,
    interactive: run.interactive,
    askPerson: askPersonOf(run, maxWaitMs, ended.signal),
    project: config.cwd,
    redactor,
    payloads: session.payloads,
    runtimeDir: config.runtimeDir,
    maxWaitMs,
    client: hookClientPath(),
    environment: config.environment,
    sink: {
      spool,
      append: (batch) => appendWitnessed(backend.calls, witness, session.clientStreamId, batch),
    },
    ...(run.attached ? { listen: run.attached.listen, isUnderWay: run.attached.isUnderWay } : {}),
    handleCredential: held.handle,
  });
  return { hooks, policy, owner, spool, witness, stopAsking: () => ended.abort() };
}

/** What a hook may still need for its answer when a person's time is up. */
const answerMarginMs = 10_000;
const maxApprovalMs = 180_000;

const askPersonOf =
  ({ backend, session }: Run, maxWaitMs: number, signal: AbortSignal): AskPerson =>
  (question) => {
    const budgetMs = Math.max(0, Math.min(maxApprovalMs, maxWaitMs - answerMarginMs));
    return askApproval({ ...question, calls: backend.calls, sessionId: session.id, signal, budgetMs });
  };

function loadOnce<T>(load: () => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | undefined;
  return () => {
    loaded ??= load();
    return loaded;
  };
}

const spoolFacts = ({ context, session, preparation }: Run) => ({
  apiUrl: context.config.apiUrl,
  org: session.orgId,
  session: session.id,
  user: session.userId,
  agent: preparation.adapter.name,
  stream: session.clientStreamId,
  nonce: Buffer.from(session.clientStreamNonce).toString('base64'),
});

const loadSpoolKey = ({ config, terminal }: Context, backend: Backend): Promise<Buffer> =>
  createSpoolKeyStore({
    items: backend.store,
    apiUrl: config.apiUrl,
    stateDir: config.stateDir,
    announce: (path) =>
      terminal.warn(`no keyring can be used; the key of the spool is kept in a plain file, ${path}`),
  }).load();

/**
 * A redactor whose secrets are known later: they are resolved while the hooks are opened, and renewed while the agent runs.
 * Indexing them takes milliseconds, for which the first hook can wait and the agent's start need not.
 */
function redactLater() {
  let secrets: readonly Secret[] | undefined;
  let made: Redactor | undefined;
  const make = (): Redactor => {
    if (secrets === undefined) throw new Error('a hook came before the secrets were known');
    made ??= createRedactor(secrets);
    return made;
  };
  return {
    redactText: (text: string) => make().redactText(text),
    redactJson: (value: unknown) => make().redactJson(value),
    /** Adds values; what is searched from now on is searched for them too. */
    hide(known: readonly Secret[]): void {
      const wasMade = made !== undefined;
      secrets = [...(secrets ?? []), ...known].slice(-maxSecrets);
      made = undefined;
      if (wasMade) make();
    },
    warmUp(): void {
      make();
    },
  };
}

/** Values searched for, the newest of a session; a day of tokens that live for a minute each. */
const maxSecrets = 2000;
