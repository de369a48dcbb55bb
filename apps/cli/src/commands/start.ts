import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import { createRedactor } from '@kontext/redaction';
import type { Command } from 'commander';
import type { AgentAdapter, LaunchPlan } from '../agents/agent.ts';
import { findAdapter } from '../agents/agents.ts';
import type { Context, RunCommand } from '../context.ts';
import { createActivePolicy, raiseMode } from '../hooks/active-policy.ts';
import { hookClientPath } from '../hooks/hook-client-path.ts';
import { openBackendOrLogIn } from '../login/ensure-login.ts';
import type { Backend } from '../rpc/open-backend.ts';
import { appendEvents } from '../session/append-events.ts';
import { buildChildEnv } from '../session/child-env.ts';
import { closeSession } from '../session/close-session.ts';
import { showDryRun } from '../session/dry-run.ts';
import { findExecutable } from '../session/find-executable.ts';
import { keepSession } from '../session/keep-session.ts';
import { loadTemplate, reportProblems } from '../session/load-template.ts';
import { type OpenSession, openSession } from '../session/open-session.ts';
import { readUserFile } from '../session/read-user-file.ts';
import { resolveOrAsk } from '../session/resolve-or-ask.ts';
import { hashHookConfig, openSessionHooks } from '../session/session-hooks.ts';
import { describeStart } from '../session/session-lines.ts';
import { spawnChild } from '../session/spawn-agent.ts';
import { requireTrust } from '../session/trust-store.ts';
import { verifyPolicy } from '../session/verify-policy.ts';
import { createSpoolKeyStore } from '../spool/spool-key.ts';

interface StartOptions {
  readonly agent?: string;
  readonly envFile?: string;
  readonly mode?: string;
  readonly strict?: boolean;
  readonly dryRun?: boolean;
  readonly trust?: boolean;
  readonly allowMissing?: boolean;
  readonly offline?: boolean;
}

/** Longest wait of a hook, unless configured: a decision takes milliseconds. */
const defaultMaxWaitMs = 10_000;

/** `kontext start [options] -- agent arguments` */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('[args...]', 'arguments of the agent, after --')
    .option('--agent <name>', 'coding agent to run')
    .option('--env-file <file>', 'env template')
    .option('--mode <mode>', 'observe or enforce; may only raise what the organisation set')
    .option('--strict', 'any problem of the template is an error')
    .option('--dry-run', 'show what would be set, never a value, and run nothing')
    .option('--trust', 'trust the template without being asked')
    .option('--allow-missing', 'go on without credentials that are not available')
    .option('--offline', 'start without the backend (not built yet)')
    .action((args: readonly string[], options: StartOptions) => {
      const { agent, envFile, mode } = options;
      return run({ agent, envFile, mode }, (context) => start(context, args, options));
    });
}

/** What is known before any login. */
interface Preparation {
  readonly adapter: AgentAdapter;
  readonly command: string;
  readonly plan: LaunchPlan;
  readonly template: ReturnType<typeof loadTemplate>;
}

async function start(context: Context, args: readonly string[], options: StartOptions): Promise<number> {
  if (options.offline) throw new KontextError('KX_OFFLINE_UNSUPPORTED', '--offline is not built yet');
  const preparation = await prepare(context, args, options);
  if (options.dryRun) return showDryRun(context, preparation.template);
  const backend = await openBackendOrLogIn(context);
  try {
    return await startSession(context, backend, preparation, options);
  } finally {
    backend.close();
  }
}

/** Agent found, its flags checked, template read and trusted. */
async function prepare(
  context: Context,
  args: readonly string[],
  options: StartOptions,
): Promise<Preparation> {
  const { config, terminal, signal } = context;
  const adapter = findAdapter(config.agent);
  const command = findExecutable(adapter.executable, config.environment.PATH);
  const plan = adapter.planLaunch(args, (path) => readUserFile(path, config.cwd));
  const template = loadTemplate(config.envFile);
  reportProblems(template, config.envFile, terminal, options.strict ?? false);
  const accept = options.trust ?? false;
  if (!options.dryRun)
    await requireTrust({ config, terminal, path: config.envFile, template, accept, signal });
  return { adapter, command, plan, template };
}

async function startSession(
  context: Context,
  backend: Backend,
  preparation: Preparation,
  options: StartOptions,
): Promise<number> {
  const { config, signal } = context;
  const { adapter, plan } = preparation;
  const request = {
    agent: adapter.name,
    mode: config.mode,
    hookConfigHash: hashHookConfig(adapter, plan),
    signal,
  };
  const [session, role] = await Promise.all([
    openSession(backend.clients, request),
    readRole(backend, signal),
  ]);
  let exitCode = 1;
  const setExitCode = (code: number): void => {
    exitCode = code;
  };
  try {
    await runAgent({ context, backend, preparation, options, session, role, setExitCode });
  } finally {
    // Where hooks were open the session has been ended with them; then this does nothing.
    await session.end(exitCode);
  }
  return exitCode;
}

interface Run {
  readonly context: Context;
  readonly backend: Backend;
  readonly preparation: Preparation;
  readonly options: StartOptions;
  readonly session: OpenSession;
  readonly role: string;
  readonly setExitCode: (code: number) => void;
}

async function runAgent(run: Run): Promise<void> {
  const { context, backend, preparation, options, session } = run;
  const { config, terminal } = context;
  const { clients } = backend;
  const { template, adapter, plan, command } = preparation;
  const owner = {
    apiUrl: config.apiUrl,
    orgId: session.orgId,
    policyKey: backend.login.policyKey,
    stateDir: config.stateDir,
  };
  const allowMissing = options.allowMissing ?? false;
  const [verified, resolved, key] = await Promise.all([
    verifyPolicy(session.snapshot, owner),
    resolveOrAsk({ context, clients, sessionId: session.id, template, allowMissing }),
    loadSpoolKey(context, backend),
  ]);
  const floor = raiseMode(session.mode, config.mode);
  const policy = createActivePolicy(verified, floor, async () =>
    (await import('@kontext/policy')).createPolicyEngine(),
  );
  const spool = { root: join(config.stateDir, 'spool'), key, facts: spoolFacts(run) };
  const hooks = await openSessionHooks({
    adapter,
    plan,
    policy,
    actor: { user: session.userId, org: session.orgId, session: session.id, groups: [], role: run.role },
    redactor: createRedactor([...resolved.credentials.values()].map(({ value }) => value)),
    runtimeDir: config.runtimeDir,
    maxWaitMs: config.hookTimeoutMs ?? defaultMaxWaitMs,
    clientPath: hookClientPath(),
    spool,
    serverEventHash: resolved.serverEventHash.length > 0 ? resolved.serverEventHash : session.serverEventHash,
    append: (batch) => appendEvents(clients, session.clientStreamId, batch),
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
    const kept = keepSession({ session, clients, policy, owner, hooks, spool, terminal });
    context.releaseSignals();
    exitCode = await spawnChild({ command, args: hooks.args, env, onSpawn: kept.onSpawn }).finally(kept.stop);
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

/** The role is a fact policy may look at; a backend that does not tell it leaves it empty. */
async function readRole(backend: Backend, signal: AbortSignal): Promise<string> {
  try {
    return (await backend.clients.organisation.getCaller({}, { signal })).role;
  } catch {
    return '';
  }
}
