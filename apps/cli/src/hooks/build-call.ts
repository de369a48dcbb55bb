import type { CallReader, CallReading, Repository, ToolCall } from '@kontext/policy';
import type { Redactor } from '@kontext/redaction';
import type { AgentAdapter } from '../agents/agent.ts';
import type { CallFacts } from './call-facts.ts';
import type { ReadEvent } from './read-event.ts';
import { createRealPath } from './real-path.ts';
import { timeLimit } from './time-limit.ts';

/** Who acts; the same for every call of a session. */
export type Actor = Pick<ToolCall, 'user' | 'org' | 'session' | 'groups' | 'role'>;

/** What calls are built with. */
export interface CallBuilderOptions {
  readonly agent: AgentAdapter;
  readonly actor: Actor;
  readonly redactor: Redactor;
  readonly facts: CallFacts;
  /** Loads the reader of calls; called once, before the first call at the latest. */
  readonly loadReader: () => Promise<CallReader>;
}

/** A call, and why it could not be read although its input could; that is a deny. */
export interface BuiltCall {
  readonly call: ToolCall;
  readonly failure: string | null;
}

/** Builds what policy looks at. */
export interface CallBuilder {
  /** Never rejects. @param event Name of the event from the client's arguments. */
  build(event: string, read: ReadEvent): Promise<BuiltCall>;
}

/** Longest wait of one call for the reader; on a busy machine it takes tenths of a second. */
const loadWithinMs = 10_000;

/** Makes the builder of a session. */
export function createCallBuilder(options: CallBuilderOptions): CallBuilder {
  const { facts } = options;
  let reader: Promise<CallReader> | undefined;
  return {
    async build(event, read) {
      reader ??= options.loadReader();
      const cwd = read.raw?.cwd ?? null;
      const asked = cwd?.startsWith('/') ? facts.repositoryOf(cwd) : Promise.resolve(null);
      const [loaded, repository] = await Promise.allSettled([timeLimit(reader, loadWithinMs), asked]);
      const base = describeCall(
        options,
        event,
        read,
        repository.status === 'fulfilled' ? repository.value : null,
      );
      // What could not be read at all has been said to be opaque; there is nothing to be read by a reader.
      if (read.redacted === null) return { call: base, failure: null };
      try {
        if (loaded.status === 'rejected') throw loaded.reason;
        return { call: { ...base, ...readParts(options, loaded.value, base, read) }, failure: null };
      } catch (error) {
        const failure = error instanceof Error ? error.message.slice(0, 500) : 'unknown';
        return { call: { ...base, opaque: ['unreadable'] }, failure };
      }
    },
  };
}

function describeCall(
  { agent, actor, redactor, facts }: CallBuilderOptions,
  event: string,
  { redacted, opaque }: ReadEvent,
  repository: Repository | null,
): ToolCall {
  const text = (value: string): string => redactor.redactText(value).text;
  const tool = redacted?.tool ?? '';
  return {
    schema: 2,
    agent: agent.name,
    agentVersion: facts.agentVersion(),
    event: text(event),
    tool,
    input: redacted?.input ?? null,
    command: redacted === null ? null : agent.readTool(redacted).command,
    parts: [{ kind: 'tool', name: tool }],
    cwd: redacted?.cwd ?? null,
    permissionMode: redacted?.permissionMode ?? null,
    subagent: redacted?.subagent ?? null,
    opaque: opaque === null ? [] : ['unreadable'],
    repository: repository && { name: text(repository.name), branch: text(repository.branch) },
    credentials: facts.credentials(),
    atMs: facts.nowMs(),
    ...actor,
  };
}

function readParts(
  { agent, facts }: CallBuilderOptions,
  reader: CallReader,
  call: ToolCall,
  { redacted }: ReadEvent,
): CallReading {
  const { home, projectRoot } = facts;
  const { actions } = agent.readTool({
    tool: call.tool,
    input: call.input,
    mcpServer: redacted?.mcpServer ?? null,
  });
  const cwd = call.cwd?.startsWith('/') ? call.cwd : null;
  // A new one for each call: what the call before did to links holds for this one.
  const { parts, opaque } = reader.read(call.tool, actions, {
    cwd,
    home,
    projectRoot,
    realPath: createRealPath(),
  });
  return { parts, opaque };
}
