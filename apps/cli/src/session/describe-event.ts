import type { StoredEvent } from '@kontext/protocol';

/** A stored event as `kontext audit tail --json` prints it. Key set pinned by a test. */
export interface DescribedEvent {
  readonly streamId: string;
  readonly seq: number;
  readonly id: string;
  readonly kind: string;
  readonly session: string;
  readonly user: string;
  readonly userName: string;
  readonly tool: string;
  readonly decision: string;
  readonly occurredAt: string | null;
  readonly receivedAt: string | null;
  readonly late: boolean;
  /** Repository of the session; empty when it has none, or said none. */
  readonly repository: string;
  /** Class the payload is kept in; empty without payload. */
  readonly retentionClass: string;
  /** The exact header text that is hashed. */
  readonly header: string;
  /** The exact payload text, null when it is not there. */
  readonly payload: string | null;
}

const maxSubjectLength = 100;

/** Takes the wire form apart. Nothing is verified here: `kontext audit verify` does. */
export function describeEvent(stored: StoredEvent): DescribedEvent {
  const header = stored.event?.header ?? '';
  const occurredAt = field(header, 'occurredAt');
  const received = stored.receivedAt;
  return {
    streamId: stored.streamId,
    seq: Number(stored.event?.seq ?? 0),
    id: stored.eventId,
    kind: stored.kind,
    session: stored.sessionId,
    user: stored.userId,
    userName: stored.userName,
    tool: stored.tool,
    decision: stored.decision,
    occurredAt: typeof occurredAt === 'string' ? occurredAt : null,
    receivedAt: received
      ? new Date(Number(received.seconds) * 1000 + received.nanos / 1e6).toISOString()
      : null,
    late: stored.late,
    repository: stored.repository,
    retentionClass: stored.retentionClass,
    header,
    payload: stored.event?.payload ?? null,
  };
}

/** One line for a person: time, who, what, tool and decision, command where there is one. */
export function eventLine(event: DescribedEvent): string {
  const time = (event.occurredAt ?? event.receivedAt ?? '').slice(11, 19);
  const parts = [
    time,
    event.userName || event.user,
    event.kind,
    event.tool,
    event.decision === '' ? '' : decisionText(event),
    subjectOf(event.payload),
    event.session,
  ];
  return parts.filter((part) => part !== '').join('  ');
}

/** The cells of a list: time, who, what, tool, decision, command or provider, repository, session, id. */
export const eventCells = (event: DescribedEvent): string[] => [
  ...[event.receivedAt ?? '', event.userName || event.user, event.kind, event.tool],
  event.decision === '' ? '' : decisionText(event),
  ...[subjectOf(event.payload), event.repository, event.session, event.id],
];

/** In observe mode a deny is recorded and not carried out: the line must not claim that it was. */
function decisionText({ decision, header }: DescribedEvent): string {
  return decision === 'deny' && field(header, 'mode') === 'observe' ? 'would deny' : decision;
}

/** The command of a tool call, or the provider of what the backend did. */
function subjectOf(payload: string | null): string {
  const call = field(payload ?? '', 'call');
  const command = typeof call === 'object' && call !== null && 'command' in call ? call.command : null;
  const subject = command ?? field(payload ?? '', 'provider');
  if (typeof subject !== 'string') return '';
  return subject.length > maxSubjectLength ? `${subject.slice(0, maxSubjectLength)}…` : subject;
}

/** A top-level field of a JSON text, undefined when there is none: the text comes from elsewhere. */
function field(text: string, name: string): unknown {
  try {
    return (JSON.parse(text) as Record<string, unknown> | null)?.[name];
  } catch {
    return undefined;
  }
}
