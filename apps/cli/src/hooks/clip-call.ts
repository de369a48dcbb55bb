import type { ToolCall } from '@kontext/policy';

/** A call as it is sent to whoever decides about it. */
export interface SentCall {
  /** JSON of the call, within {@link maxCallBytes}. */
  readonly text: string;
  /** Whether something of it had to be left out. */
  readonly clipped: boolean;
}

/** What approvals.proto allows. */
const maxCallBytes = 64 * 1024;
/** Longest text and most members, step by step, until it fits. */
const steps = [
  { text: 16_000, members: 200 },
  { text: 4_000, members: 100 },
  { text: 1_000, members: 40 },
  { text: 200, members: 20 },
] as const;
const maxDepth = 64;

/** Writes a call down as JSON; of one that is too large, texts and lists are shortened. */
export function clipCall(call: ToolCall): SentCall {
  const whole = JSON.stringify(call);
  if (fits(whole)) return { text: whole, clipped: false };
  for (const step of steps) {
    const text = JSON.stringify(shorten(call, step, 0));
    if (fits(text)) return { text, clipped: true };
  }
  const { input: _, parts: __, command, ...facts } = call;
  const last = { text: 200, members: 10 };
  const bare = { ...facts, input: null, parts: [], command: command?.slice(0, 1000) ?? null };
  return { text: JSON.stringify(shorten(bare, last, maxDepth - 2)), clipped: true };
}

const fits = (text: string): boolean => Buffer.byteLength(text) <= maxCallBytes;

function shorten(
  value: unknown,
  step: { readonly text: number; readonly members: number },
  depth: number,
): unknown {
  if (typeof value === 'string') return value.length > step.text ? `${value.slice(0, step.text)}…` : value;
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= maxDepth) return null;
  if (Array.isArray(value)) return value.slice(0, step.members).map((item) => shorten(item, step, depth + 1));
  const members = Object.entries(value).slice(0, step.members);
  return Object.fromEntries(
    members.map(([name, member]) => [name.slice(0, step.text), shorten(member, step, depth + 1)]),
  );
}
