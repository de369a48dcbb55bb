import { setImmediate as nextTurn } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { listPlaceholders } from '@kontext/env-template';
import { loadLocalPolicies } from '../policy/local-policies.ts';
import type { Backend } from '../rpc/open-backend.ts';
import { checkAgentVersion } from './check-agent-version.ts';
import { buildChildEnv, leaveOut } from './child-env.ts';
import { closeSession } from './close-session.ts';
import { hashHookConfig } from './hook-settings.ts';
import { keepSession } from './keep-session.ts';
import { loadSpoolKey, openHooks } from './open-hooks.ts';
import { openSession } from './open-session.ts';
import { programPath } from './program-path.ts';
import { readRepository } from './read-repository.ts';
import { redactLater } from './redact-later.ts';
import { resolveOrAsk } from './resolve-or-ask.ts';
import { createSessionCredentials } from './session-credentials.ts';
import { createSessionFacts } from './session-facts.ts';
import { describeStart } from './session-lines.ts';
import type { AttachedAgent, OpenRun, Preparation, SessionRun } from './session-run.ts';
import { spawnChild } from './spawn-agent.ts';

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

async function runAgent(run: OpenRun): Promise<void> {
  const { session } = run;
  const { terminal } = run.context;
  const redactor = redactLater();
  const ready = await makeReady(run, redactor);
  const startedAtMs = Date.now();
  let exitCode = 1;
  try {
    exitCode = await launch(run, ready, redactor.warmUp);
    run.setExitCode(exitCode);
  } finally {
    ready.stopAsking();
    await closeSession({ session, hooks: ready.hooks, exitCode, startedAtMs, terminal });
    const trouble = ready.witness.close();
    if (trouble !== null) terminal.error(trouble);
  }
}

type Ready = Awaited<ReturnType<typeof makeReady>>;

/** The hooks are opened while the backend works, once the request is on its way; what a failure leaves open is closed. */
async function makeReady(run: OpenRun, redactor: ReturnType<typeof redactLater>) {
  const { context, backend, preparation, allowMissing, session } = run;
  const { template } = preparation;
  const held = createSessionCredentials({
    ...{ calls: backend.calls, sessionId: session.id, template, hide: redactor.hide },
  });
  const resolving = resolveOrAsk({ context, backend, sessionId: session.id, template, allowMissing });
  const opening = nextTurn().then(() => openHooks(run, redactor, held));
  const [opened, resolved] = await Promise.allSettled([opening, resolving]);
  if (opened.status === 'rejected') throw opened.reason;
  const { hooks } = opened.value;
  if (resolved.status === 'rejected') {
    await hooks.close(0);
    throw resolved.reason;
  }
  const { credentials, serverEventHash } = resolved.value;
  redactor.hide([...credentials.values()].map(({ value }) => value));
  held.hold(credentials);
  run.facts.holds(providersOf(template, credentials));
  hooks.noteLaunch(serverEventHash.length > 0 ? serverEventHash : session.serverEventHash);
  return { ...opened.value, held, credentials };
}

/** @returns The agent's exit code. */
function launch(run: OpenRun, ready: Ready, warmUp: () => void): Promise<number> {
  const { context, backend, preparation, session } = run;
  const { config, terminal } = context;
  const { hooks, policy, owner, spool, witness, held, credentials } = ready;
  const { env } = buildChildEnv({
    inherited: leaveOut(config.environment, preparation.adapter.clearedVariables),
    template: preparation.template,
    credentials,
    sessionId: session.id,
    socketPath: hooks.socketPath,
    program: [process.execPath, programPath()],
  });
  if (!run.attached) checkAgentVersion(preparation.adapter, run.facts.agentVersion(), policy.mode, terminal);
  terminal.note(describeStart(credentials, policy.mode, session.id));
  const kept = keepSession({
    ...{ session, calls: backend.calls, policy, owner, hooks, spool, witness, terminal },
    watchPolicy: (signal) => watchPolicy(backend, signal),
    ...{ renewals: held.renewals, forget: held.forget },
    runtimeDir: config.runtimeDir,
  });
  const onSpawn = (): void => {
    kept.onSpawn();
    warmUp();
    void run.facts.version.learn();
  };
  context.releaseSignals();
  const running = run.attached
    ? attach(run.attached, onSpawn)
    : spawnChild({ command: preparation.command, args: hooks.args, env, onSpawn });
  return running.finally(kept.stop);
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
