/**
 * The header of an audit event: the text that is hashed, stored and kept.
 *
 * - JSON, every field present, in the order of {@link EventHeader}; absent values are `null`, never left out.
 * - One canonical spelling: encoding what was parsed gives the same text again. Duplicate keys, white space, other
 *   escapes and other number forms are refused that way, without a parser of our own.
 * - NUL and lone surrogates stand as JSON escapes, so the text is valid UTF-8 and fits a Postgres `text` column.
 * - At most 16 KiB in UTF-8. Text fields have limits of their own ({@link headerLimits}), in UTF-16 code units.
 * - Another format is another `v`; fields are never added to an old one.
 */
import { eventInvalid } from './event-invalid.ts';
import { type EventKind, isEventKind } from './event-kinds.ts';
import { headerLimits } from './header-limits.ts';
import { type Id, isId } from './ids.ts';
import { readPlainHeader } from './plain-header.ts';

/** What the policy said; in mode `observe` a deny was not carried out. */
export type EventDecision = 'allow' | 'deny' | 'ask';

/** What else an event belongs to. */
export interface EventLineage {
  /** Leases the event is about, at most 100. */
  readonly leases: readonly Id<'lea'>[];
  readonly connection: Id<'con'> | null;
  readonly approval: Id<'apr'> | null;
  /** Hex event hash of the newest event of the session's server stream, which ties the two streams together. */
  readonly serverEvent: string | null;
}

/** The header, version 1. The order of the fields is the order in the text. */
export interface EventHeader {
  readonly v: 1;
  readonly org: Id<'org'>;
  readonly stream: Id<'str'>;
  /** From 1, without gaps. */
  readonly seq: number;
  readonly id: Id<'evt'>;
  readonly kind: EventKind;
  /** Null in the organisation's admin stream. */
  readonly session: Id<'ses'> | null;
  readonly user: Id<'usr'> | null;
  /** Name of the coding agent, such as `claude` or `run`. */
  readonly agent: string | null;
  /** Name of the tool, as the agent spells it. */
  readonly tool: string | null;
  /** The agent's id of the tool call, which pairs its events. */
  readonly toolUse: string | null;
  readonly decision: EventDecision | null;
  /** Id of the rule that decided. */
  readonly rule: string | null;
  readonly policyVersion: number | null;
  readonly mode: 'observe' | 'enforce' | null;
  /** Clock of the writer, RFC 3339 in UTC with milliseconds. */
  readonly occurredAt: string;
  readonly lineage: EventLineage;
  /** How the payload was redacted before it was hashed: of secrets' exact values, or of what patterns find, too. */
  readonly redaction: 'full-v1' | 'exact-v1' | 'none';
  /** Hex {@link hashPayload}; null when the event was written without payload. */
  readonly payloadHash: string | null;
  /** `payload` when there should have been one: an orphan intent, an event that could not be redacted in time. */
  readonly missing: 'payload' | null;
}

// biome-ignore format: one glance shows the order
const headerKeys = [
  'v', 'org', 'stream', 'seq', 'id', 'kind', 'session', 'user', 'agent', 'tool', 'toolUse', 'decision', 'rule',
  'policyVersion', 'mode', 'occurredAt', 'lineage', 'redaction', 'payloadHash', 'missing',
] as const satisfies readonly (keyof EventHeader)[];

const lineageKeys = [
  'leases',
  'connection',
  'approval',
  'serverEvent',
] as const satisfies readonly (keyof EventLineage)[];

type Check = (value: unknown) => boolean;

const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const idOf =
  (prefix: Parameters<typeof isId>[0]): Check =>
  (value) =>
    isId(prefix, value);
const textUpTo =
  (limit: number): Check =>
  (value) =>
    typeof value === 'string' && value.length >= 1 && value.length <= limit;
const oneOf =
  (...values: readonly unknown[]): Check =>
  (value) =>
    values.includes(value);
const integerFrom =
  (least: number): Check =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= least;
const isHexHash: Check = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);

const lineageChecks: Readonly<Record<keyof EventLineage, Check>> = {
  leases: (value) =>
    Array.isArray(value) && value.length <= headerLimits.leases && value.every((lease) => isId('lea', lease)),
  connection: orNull(idOf('con')),
  approval: orNull(idOf('apr')),
  serverEvent: orNull(isHexHash),
};

const headerChecks: Readonly<Record<keyof EventHeader, Check>> = {
  v: oneOf(1),
  org: idOf('org'),
  stream: idOf('str'),
  seq: integerFrom(1),
  id: idOf('evt'),
  kind: (value) => typeof value === 'string' && isEventKind(value),
  session: orNull(idOf('ses')),
  user: orNull(idOf('usr')),
  agent: orNull(textUpTo(headerLimits.agent)),
  tool: orNull(textUpTo(headerLimits.tool)),
  toolUse: orNull(textUpTo(headerLimits.toolUse)),
  decision: orNull(oneOf('allow', 'deny', 'ask')),
  rule: orNull(textUpTo(headerLimits.rule)),
  policyVersion: orNull(integerFrom(0)),
  mode: orNull(oneOf('observe', 'enforce')),
  occurredAt: isInstant,
  lineage: (value) => firstBadField(value, lineageKeys, lineageChecks) === null,
  redaction: oneOf('full-v1', 'exact-v1', 'none'),
  payloadHash: orNull(isHexHash),
  missing: orNull(oneOf('payload')),
};

/**
 * Writes a header as its text.
 *
 * @throws KontextError `KX_EVENT_INVALID` naming the field when one is absent, unknown, of a wrong type or too long.
 */
export function encodeHeader(header: EventHeader): string {
  checkHeader(header);
  const text = spell(header);
  if (Buffer.byteLength(text) > headerLimits.bytes) throw eventInvalid('the header is over 16 KiB');
  return text;
}

/**
 * Reads the text of a header, in its one spelling only.
 *
 * What the header says about other things is not checked here: its place in the stream, its payload, its owner.
 *
 * @throws KontextError `KX_EVENT_INVALID` when it is not JSON, has absent, unknown, duplicate or wrong fields, is
 * over 16 KiB, or is spelled in any other way than {@link encodeHeader} would.
 */
export function parseHeader(text: string): EventHeader {
  // A code unit is at least one byte of UTF-8, so this bounds the work before anything is parsed.
  if (text.length > headerLimits.bytes) throw eventInvalid('the header is over 16 KiB');
  return (readPlainHeader(text) as EventHeader | null) ?? parseAnyHeader(text);
}

/** {@link parseHeader} of any header, however its texts are escaped; exported for the test that compares the two. */
export function parseAnyHeader(text: string): EventHeader {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw eventInvalid('the header is not JSON', cause);
  }
  checkHeader(value);
  if (spell(value) !== text) throw eventInvalid('the header is not in its canonical spelling');
  return value;
}

function checkHeader(value: unknown): asserts value is EventHeader {
  const field = firstBadField(value, headerKeys, headerChecks);
  if (field !== null)
    throw eventInvalid(`the header field "${field}" is absent, unknown, of a wrong type or too long`);
  const { payloadHash, missing } = value as EventHeader;
  if (payloadHash !== null && missing !== null)
    throw eventInvalid('the header names a payload and calls it missing');
}

/** The name of the first field that is wrong; `that is none` when one is surplus and all others are right; or null. */
function firstBadField<K extends string>(
  value: unknown,
  keys: readonly K[],
  checks: Readonly<Record<K, Check>>,
): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'v';
  const bad = keys.find(
    (key) => !Object.hasOwn(value, key) || !checks[key]((value as Record<K, unknown>)[key]),
  );
  if (bad !== undefined) return bad;
  // Not by its name, which is anything at all and would stand in errors and logs.
  return Object.keys(value).some((key) => !keys.includes(key as K)) ? 'that is none' : null;
}

/** Literals, because this runs for every event on both sides and they are what the engine builds fastest. */
function spell(h: EventHeader): string {
  const { leases, connection, approval, serverEvent } = h.lineage;
  // biome-ignore format: one glance shows the order
  return JSON.stringify({
    v: h.v, org: h.org, stream: h.stream, seq: h.seq, id: h.id, kind: h.kind, session: h.session, user: h.user,
    agent: h.agent, tool: h.tool, toolUse: h.toolUse, decision: h.decision, rule: h.rule,
    policyVersion: h.policyVersion, mode: h.mode, occurredAt: h.occurredAt,
    lineage: { leases, connection, approval, serverEvent },
    redaction: h.redaction, payloadHash: h.payloadHash, missing: h.missing,
  } satisfies EventHeader);
}

function isInstant(value: unknown): boolean {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value)) return false;
  // Postgres counts no year 0: such an instant could be hashed and sent, and never stored.
  if (value.startsWith('0000')) return false;
  const ms = Date.parse(value);
  return !Number.isNaN(ms) && new Date(ms).toISOString() === value;
}
