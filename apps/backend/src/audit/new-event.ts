import { deriveColumns, type EventHeader, toColumnText } from '@kontext/audit';
import type { NewEvent } from '../store/queries/append-events.ts';

/** The parts of an event that are stored as they are. */
interface EventParts {
  readonly seq: number;
  readonly header: string;
  readonly payload: string | null;
  readonly salt: Uint8Array | null;
  readonly chain: Uint8Array;
}

/** Puts the search columns beside an event; they follow from its header and from nothing else. */
export function toNewEvent(event: EventParts, header: EventHeader): NewEvent {
  const { eventId, kind, sessionId, userId, tool, decision } = deriveColumns(header);
  return {
    seq: event.seq,
    header: event.header,
    payload: event.payload,
    salt: event.payload === null ? null : event.salt,
    chain: event.chain,
    eventId: eventId ?? '',
    kind: kind ?? '',
    sessionId,
    userId,
    tool,
    decision,
    agent: toColumnText(header.agent),
    toolUseId: toColumnText(header.toolUse),
    rule: toColumnText(header.rule),
    policyVersion: header.policyVersion,
    occurredAt: header.occurredAt,
  };
}
