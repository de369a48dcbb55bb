import { callShape, parseToolCall } from '@kontext/policy';

/** A recorded call as a person reads it. */
export interface DescribedCall {
  /** The command, or the tool's input as indented JSON. */
  readonly call: string;
  /** What else is known: name and value. */
  readonly about: readonly (readonly [string, string])[];
  /** Whether the call says that all of it stands there. */
  readonly isWhole: boolean;
  /** What kind of call it is, as an approval for the session covers it; null where the call cannot be read exactly. */
  readonly shape: string | null;
}

/**
 * Puts a call into words; total, whatever stands in it.
 *
 * A command that is all of the input is shown as text, its lines as lines. Anything else is shown as JSON, so that nothing of
 * it is left out.
 *
 * @param text JSON of a `ToolCall`, schema 2.
 */
export function describeCall(text: string): DescribedCall {
  const value = parse(text);
  const call = asRecord(value);
  const parsed = parseToolCall(value);
  const { input, command, cwd, permissionMode, subagent, opaque } = call;
  const repository = asRecord(call.repository);
  const isCommandAlone = typeof command === 'string' && isOnlyCommand(input, command);
  const about: [string, unknown][] = [
    ['Description', isCommandAlone ? asRecord(input).description : undefined],
    ['Directory', cwd],
    ['Repository', repository.name],
    ['Branch', repository.branch],
    ['Sub-agent', subagent],
    ['Permission mode', permissionMode],
    ['Credentials in scope', Array.isArray(call.credentials) ? call.credentials.join(', ') : undefined],
    ['Not understood', Array.isArray(opaque) ? opaque.join(', ') : undefined],
  ];
  return {
    call: isCommandAlone ? String(command) : JSON.stringify(input ?? null, null, 2),
    about: about.flatMap(([name, value]) =>
      typeof value === 'string' && value !== '' ? [[name, value] as const] : [],
    ),
    shape: 'call' in parsed ? callShape(parsed.call) : null,
    isWhole: !(Array.isArray(opaque) && opaque.includes('clipped')),
  };
}

/** What a shell tool is given besides its command, and changes nothing about what runs. */
const harmless: ReadonlySet<string> = new Set(['command', 'description', 'timeout']);

function isOnlyCommand(input: unknown, command: string): boolean {
  const fields = asRecord(input);
  return fields.command === command && Object.keys(fields).every((name) => harmless.has(name));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const asRecord = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};
