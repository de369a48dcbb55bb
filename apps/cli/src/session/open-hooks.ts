import { join } from 'node:path';
import type { Redactor } from '@kontext/redaction';
import type { Context } from '../context.ts';
import { createActivePolicy, raiseMode } from '../hooks/active-policy.ts';
import { askApproval } from '../hooks/ask-approval.ts';
import { hookClientPath } from '../hooks/hook-client-path.ts';
import type { AskPerson } from '../hooks/settle-ask.ts';
import type { Backend } from '../rpc/open-backend.ts';
import { createSpoolKeyStore } from '../spool/spool-key.ts';
import { createWitness } from '../witness/witness.ts';
import { appendWitnessed } from './append-events.ts';
import type { SessionCredentials } from './session-credentials.ts';
import { openSessionHooks } from './session-hooks.ts';
import { defaultMaxWaitMs, type OpenRun } from './session-run.ts';
import { verifyPolicy } from './verify-policy.ts';

/** Policy verified, hook server listening, spool open: all but the secrets to redact, which are being resolved. */
export async function openHooks(run: OpenRun, redactor: Redactor, held: SessionCredentials) {
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
  ({ backend, session }: OpenRun, maxWaitMs: number, signal: AbortSignal): AskPerson =>
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

const spoolFacts = ({ context, session, preparation }: OpenRun) => ({
  apiUrl: context.config.apiUrl,
  org: session.orgId,
  session: session.id,
  user: session.userId,
  agent: preparation.adapter.name,
  stream: session.clientStreamId,
  nonce: Buffer.from(session.clientStreamNonce).toString('base64'),
});

/** The key that the local record of the session is sealed with. */
export const loadSpoolKey = ({ config, terminal }: Context, backend: Backend): Promise<Buffer> =>
  createSpoolKeyStore({
    items: backend.store,
    apiUrl: config.apiUrl,
    stateDir: config.stateDir,
    announce: (path) =>
      terminal.warn(`no keyring can be used; the key of the spool is kept in a plain file, ${path}`),
  }).load();
