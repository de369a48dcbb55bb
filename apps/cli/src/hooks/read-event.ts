import type { Redactor } from '@kontext/redaction';
import type { AgentAdapter, AgentEvent } from '../agents/agent.ts';
import type { HookRequest } from './frames.ts';
import { parseInput } from './parse-input.ts';

/** What of an event is kept and decided on: no injected value stands in it any more. */
export type RedactedEvent = Pick<
  AgentEvent,
  'tool' | 'toolUse' | 'permissionMode' | 'input' | 'cwd' | 'details' | 'mcpServer' | 'subagent'
>;

/** An event, redacted; `raw` keeps what comparing needs. Opaque when there is a reason why it cannot be read. */
export interface ReadEvent {
  readonly raw: AgentEvent | null;
  readonly redacted: RedactedEvent | null;
  readonly opaque: string | null;
}

/** Decodes and redacts what a hook brought. Never throws: what cannot be read whole is opaque. */
export function readEvent(agent: AgentAdapter, redactor: Redactor, request: HookRequest): ReadEvent {
  const opaque = (why: string): ReadEvent => ({ raw: null, redacted: null, opaque: why });
  const parsed = parseInput(request);
  if (!parsed.ok) return opaque(parsed.why);
  let raw: AgentEvent;
  try {
    raw = agent.decodeEvent(request.event, parsed.value);
  } catch {
    return opaque('it is not what the agent sends for this event');
  }
  const { tool, toolUse, permissionMode, input, cwd, details, mcpServer, subagent } = raw;
  const shown = { tool, toolUse, permissionMode, input, cwd, details, mcpServer, subagent };
  const { value, omitted } = redactor.redactJson(shown);
  if (omitted) return opaque('it could not be searched for secrets in time');
  const redacted = value as RedactedEvent;
  return { raw, redacted: { ...redacted, details: clipDetails(redacted.details) }, opaque: null };
}

/** Longest text among the details, such as the error of a failed call, with what is still to be searched beyond its cut. */
const maxDetailLength = 8_192;

/** Cut only now: half a secret is not found any more. Patterns are looked for later, and `payloadText` cuts once more. */
const clipDetails = (details: AgentEvent['details']): AgentEvent['details'] =>
  Object.fromEntries(
    Object.entries(details).map(([name, value]) => [
      name,
      typeof value === 'string' ? value.slice(0, maxDetailLength) : value,
    ]),
  );
