import { join } from 'node:path';
import { createRedactor, type Redactor, type Secret } from '@kontext/redaction';
import type { AgentAdapter, LaunchPlan } from '../agents/agent.ts';
import type { Context } from '../context.ts';
import { createActivePolicy, raiseMode } from '../hooks/active-policy.ts';
import { hookClientPath } from '../hooks/hook-client-path.ts';
import type { Backend } from '../rpc/open-backend.ts';
import { createSpoolKeyStore } from '../spool/spool-key.ts';
import { appendEvents } from './append-events.ts';
import { buildChildEnv } from './child-env.ts';
import { closeSession } from './close-session.ts';
import { keepSession } from './keep-session.ts';
import type { loadTemplate } from './load-template.ts';
import { type OpenSession, openSession } from './open-session.ts';
import { resolveOrAsk } from './resolve-or-ask.ts';
import { hashHookConfig, openSessionHooks } from './session-hooks.ts';
import { describeStart } from './session-lines.ts';
import { spawnChild } from './spawn-agent.ts';
import { verifyPolicy } from './verify-policy.ts';

/** Longest wait of a hook, unless configured: a decision takes milliseconds. */
const defaultMaxWaitMs = 10_000;

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
  const session = await openSession(backend.calls, {
    agent: adapter.name,
    mode: config.mode,
    hookConfigHash: hashHookConfig(adapter, plan),
    signal,
  });
  let exitCode = 1;
  const setExitCode = (code: number): void => {
    exitCode = code;
  };
  try {
    await runAgent({ ...given, session, setExitCode });
  } finally {
    // Where hooks were open the session has been ended with them; then this does nothing.
    await session.end(exitCode);
  }
  return exitCode;
}

interface Run extends SessionRun {
  readonly session: OpenSession;
  readonly setExitCode: (code: number) => void;
}

async function runAgent(run: Run): Promise<void> {
  const { context, backend, preparation, allowMissing, session } = run;
  const { config, terminal } = context;
  const { calls } = backend;
  const { template, adapter, plan, command } = preparation;
  const owner = {
    apiUrl: config.apiUrl,
    orgId: session.orgId,
    policyKey: backend.login.policyKey,
    stateDir: config.stateDir,
  };
  const [verified, resolved, key] = await Promise.all([
    verifyPolicy(session.snapshot, owner),
    resolveOrAsk({ context, backend, sessionId: session.id, template, allowMissing }),
    loadSpoolKey(context, backend),
  ]);
  const floor = raiseMode(session.mode, config.mode);
  const policy = createActivePolicy(verified, floor, async () =>
    (await import('@kontext/policy')).createPolicyEngine(),
  );
  const spool = { root: join(config.stateDir, 'spool'), key, facts: spoolFacts(run) };
  const redactor = redactLater([...resolved.credentials.values()].map(({ value }) => value));
  const hooks = await openSessionHooks({
    adapter,
    plan,
    policy,
    actor: {
      ...{ user: session.userId, org: session.orgId, session: session.id },
      ...{ groups: session.groups, role: session.role },
    },
    redactor,
    runtimeDir: config.runtimeDir,
    maxWaitMs: config.hookTimeoutMs ?? defaultMaxWaitMs,
    clientPath: hookClientPath(),
    spool,
    serverEventHash: resolved.serverEventHash.length > 0 ? resolved.serverEventHash : session.serverEventHash,
    append: (batch) => appendEvents(calls, session.clientStreamId, batch),
  });
  const startedAtMs = Date.now();
  let exitCode = 1;
  try {
    const { credentials } = resolved;
    const { env } = buildChildEnv({
      inherited: without(config.environment, adapter.clearedVariables),
      template,
      credentials,
      sessionId: session.id,
      socketPath: hooks.socketPath,
    });
    terminal.note(describeStart(credentials, policy.mode, session.id));
    const kept = keepSession({ session, calls, policy, owner, hooks, spool, terminal });
    const onSpawn = (): void => {
      kept.onSpawn();
      redactor.redactText('');
    };
    context.releaseSignals();
    exitCode = await spawnChild({ command, args: hooks.args, env, onSpawn }).finally(kept.stop);
    run.setExitCode(exitCode);
  } finally {
    await closeSession({ session, hooks, exitCode, startedAtMs, terminal });
  }
}

const without = (environment: Readonly<Record<string, string>>, names: readonly string[]) =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !names.includes(name)));

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

/** Indexing the secrets takes milliseconds, for which the first hook can wait and the agent's start need not. */
function redactLater(secrets: readonly Secret[]): Redactor {
  let made: Redactor | undefined;
  const make = (): Redactor => {
    made ??= createRedactor(secrets);
    return made;
  };
  return {
    redactText: (text) => make().redactText(text),
    redactJson: (value) => make().redactJson(value),
  };
}
