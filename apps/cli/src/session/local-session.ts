/**
 * A session without a backend: no login, no credentials, no network. Its policy is the starter rules and the rules of this
 * machine, its audit log a file (see `local-audit-file.ts`).
 *
 * A rule that asks is answered in the agent's own prompt where it has one; where nobody can be asked, the call is denied.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { isatty } from 'node:tty';
import { createId } from '@kontext/audit';
import { type EnvTemplate, listPlaceholders, parseEnvTemplate } from '@kontext/env-template';
import { KontextError } from '@kontext/errors';
import { createCallReader, createPolicyEngine, starterPolicies } from '@kontext/policy';
import { createRedactor } from '@kontext/redaction';
import type { Context } from '../context.ts';
import { type ActivePolicy, createActivePolicy } from '../hooks/active-policy.ts';
import { hookClientPath } from '../hooks/hook-client-path.ts';
import { sweepRuntime } from '../hooks/sweep-runtime.ts';
import { loadLocalPolicies } from '../policy/local-policies.ts';
import { checkAgentVersion } from './check-agent-version.ts';
import { buildChildEnv, leaveOut } from './child-env.ts';
import { createLocalAuditFile } from './local-audit-file.ts';
import { createSessionFacts } from './session-facts.ts';
import { openSessionHooks, type SessionHooks } from './session-hooks.ts';
import { describeEnd, firstEventWithinMs, noHookYet } from './session-lines.ts';
import type { Preparation } from './session-run.ts';
import { spawnChild } from './spawn-agent.ts';

/** A person at the agent's own prompt is waited for by the agent: no hook is held. */
const defaultMaxWaitMs = 10_000;
const settingsEveryMs = 30_000;
const closeMs = 2_000;

/** The template of a session whose project has none. */
export const emptyTemplate = (): EnvTemplate => parseEnvTemplate(new Uint8Array());

/**
 * Runs the agent in a local session.
 *
 * @param strict Whether a placeholder, for which there is no credential, is an error.
 * @returns The agent's exit code.
 * @throws KontextError `KX_LOCAL_PLACEHOLDER` (77) when `strict`; `KX_POLICY_INVALID`, `KX_POLICY_UNREADABLE` (65) for a rule
 *   of this machine; `KX_SOCKET_FAILED`, `KX_SPOOL_CORRUPT`.
 */
export async function runLocalSession(
  context: Context,
  preparation: Preparation,
  strict: boolean,
): Promise<number> {
  const { config, terminal } = context;
  const { adapter, command, template } = preparation;
  reportPlaceholders(context, template, strict);
  const session = createId('ses');
  const policy = createActivePolicy(
    { version: 0, mode: config.mode ?? 'observe', policies: starterPolicies },
    null,
    createPolicyEngine,
    { local: await loadLocalPolicies(config.configDir) },
  );
  const startedAtMs = Date.now();
  const name = `${new Date(startedAtMs).toISOString().replaceAll(/[:.]/g, '-')}-${session}.jsonl`;
  const auditFile = join(config.stateDir, 'local-audit', name);
  const hooks = await openHooks(context, preparation, policy, session, auditFile);
  let keeping: Keeping | undefined;
  try {
    hooks.noteLaunch(new Uint8Array());
    const { env } = buildChildEnv({
      inherited: leaveOut(config.environment, adapter.clearedVariables),
      ...{ template, credentials: new Map(), sessionId: session, socketPath: hooks.socketPath },
    });
    terminal.note(`local session ${session}, policy ${policy.mode}, recorded in ${auditFile}`);
    context.releaseSignals();
    const onSpawn = (): void => {
      keeping = keepWatch(context, hooks, policy);
    };
    return await spawnChild({ command, args: hooks.args, env, onSpawn });
  } finally {
    keeping?.stop();
    await closeHooks(context, hooks, startedAtMs);
    terminal.note(`\`kontext audit verify ${auditFile}\` checks the record`);
  }
}

function reportPlaceholders({ terminal }: Context, template: EnvTemplate, strict: boolean): void {
  const names = template.entries
    .filter(({ parts }) => parts.some((part) => typeof part !== 'string'))
    .map((entry) => entry.name);
  if (listPlaceholders(template.entries).length === 0) return;
  if (strict) {
    throw new KontextError('KX_LOCAL_PLACEHOLDER', `a local session cannot set ${names.join(', ')}`);
  }
  terminal.warn(`a local session has no credentials; not set: ${names.join(', ')}`);
}

function openHooks(
  { config, terminal }: Context,
  { adapter, command, plan }: Preparation,
  policy: ActivePolicy,
  session: string,
  auditFile: string,
): Promise<SessionHooks> {
  const [org, stream] = [createId('org'), createId('str')];
  const facts = createSessionFacts({ ...config, adapter, command });
  checkAgentVersion(adapter, facts.agentVersion(), policy.mode, terminal);
  const record = createLocalAuditFile({
    path: auditFile,
    stream: { ...{ stream, org, session }, agent: adapter.name, nonce: randomBytes(32) },
  });
  return openSessionHooks({
    ...{ adapter, plan, policy, facts, sink: { record } },
    actor: { user: 'local', org, session, groups: [], role: 'local' },
    loadReader: () => createCallReader(),
    interactive: adapter.isInteractive(plan, { stdin: isatty(0), stdout: isatty(1) }),
    project: config.cwd,
    // There is no credential whose value would have to be searched for.
    redactor: createRedactor([]),
    // It stays on this machine, for whoever runs the agent.
    payloads: () => 'full',
    runtimeDir: config.runtimeDir,
    maxWaitMs: config.hookTimeoutMs ?? defaultMaxWaitMs,
    client: hookClientPath(),
    environment: config.environment,
  });
}

interface Keeping {
  stop(): void;
}

/** What goes on beside the running agent. */
function keepWatch({ config, terminal }: Context, hooks: SessionHooks, policy: ActivePolicy): Keeping {
  let over = false;
  const stopWaiting = hooks.expectFirstEvent(firstEventWithinMs, {
    onFirst: () => undefined,
    warn: () => terminal.warn(noHookYet),
  });
  const timer = setInterval(() => hooks.checkSettings(), settingsEveryMs).unref();
  void policy.warmUp(() => over).then(() => sweepRuntime(config.runtimeDir).catch(() => null));
  return {
    stop() {
      over = true;
      stopWaiting();
      clearInterval(timer);
    },
  };
}

async function closeHooks({ terminal }: Context, hooks: SessionHooks, startedAtMs: number): Promise<void> {
  const endedAtMs = Date.now();
  hooks.checkSettings();
  const missed = hooks.countMissed();
  const whole = await hooks.close(closeMs);
  if (missed > 0) terminal.warn(`${missed} hook calls could not be recorded`);
  if (!whole) terminal.warn('some events could not be written; the record says how many');
  terminal.note(describeEnd(hooks.counts, endedAtMs - startedAtMs));
}
