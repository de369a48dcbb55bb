/**
 * Runs in a thread of its own: parses, lints and evaluates policies somebody wrote, one job after the other.
 *
 * A policy may take long and Cedar never forgets a set it parsed; whoever started the thread ends it when either is too much.
 */
import { parentPort } from 'node:worker_threads';
import { KontextError } from '@kontext/errors';
import {
  callShape,
  createPolicyEngine,
  describePart,
  type LoadedPolicy,
  type ParsedToolCall,
  type PolicyEngine,
  parseToolCall,
} from '@kontext/policy';
import { whyNotReproducible } from './not-reproducible.ts';
import type { JobAnswer, JobRequest, PolicyJobs, Redecided } from './worker-protocol.ts';

type Handlers = {
  readonly [Job in keyof PolicyJobs]: (input: PolicyJobs[Job]['input']) => PolicyJobs[Job]['output'];
};

function createHandlers(engine: PolicyEngine): Handlers {
  let loaded: LoadedPolicy | null = null;
  const set = (): LoadedPolicy => {
    if (loaded === null) throw new Error('no policy was loaded');
    return loaded;
  };
  return {
    check: ({ files }) => ({ findings: engine.lint(files), policies: engine.parseSources(files).policies }),
    load: ({ set: wanted }) => {
      loaded = engine.load(wanted);
      return null;
    },
    decide: ({ call: text, mode }) => {
      const read = readCall(text);
      if ('notReproducible' in read) return read;
      return { decision: engine.decide(set(), read.call, mode), parts: read.call.parts.map(describePart) };
    },
    replay: ({ payloads }) => payloads.map((payload) => redecide(engine, set(), payload)),
  };
}

function redecide(engine: PolicyEngine, loaded: LoadedPolicy, text: string | null): Redecided {
  const payload = readPayload(text);
  const why = whyNotReproducible(payload);
  if (why !== null) return { notReproducible: why };
  const read = parseToolCall(payload?.call);
  if ('notReproducible' in read) return read;
  const { effect, rule, failure } = engine.decide(loaded, read.call, 'enforce');
  if (failure !== null)
    return { notReproducible: `the policy could not be evaluated: ${failure.slice(0, 200)}` };
  return { effect, rule, shape: callShape(read.call) };
}

function readPayload(text: string | null): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text ?? 'null');
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}

function readCall(text: string): ParsedToolCall {
  try {
    return parseToolCall(JSON.parse(text));
  } catch {
    return { notReproducible: 'it is not JSON' };
  }
}

const handlers = createPolicyEngine().then(createHandlers);

async function answer({ job, input }: JobRequest): Promise<JobAnswer> {
  try {
    const handler = (await handlers)[job] as (input: unknown) => unknown;
    return { ok: true, value: handler(input) };
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    const { code, message, hint, details } = error;
    return { ok: false, code, message, hint, details };
  }
}

parentPort?.on('message', async (request: JobRequest) => {
  parentPort?.postMessage(await answer(request));
});
