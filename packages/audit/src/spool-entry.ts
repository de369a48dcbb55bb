import type { EventHeader } from './event-header.ts';
import { hashBytes, saltBytes } from './hashes.ts';
import type { ChainedEvent, Reservation } from './stream-writer.ts';

/** What a call was and how it was decided: enough to write its event, without payload, if the record never came. */
export type SpoolIntent = Reservation &
  Pick<
    EventHeader,
    'kind' | 'tool' | 'toolUse' | 'decision' | 'rule' | 'policyVersion' | 'mode' | 'occurredAt'
  >;

/** One entry of the spool. */
export type SpoolEntry =
  /** Facts a later run needs to upload the session: organisation, stream, nonce, user, agent. The caller's own JSON. */
  | { readonly kind: 'open'; readonly facts: Readonly<Record<string, unknown>> }
  | { readonly kind: 'intent'; readonly intent: SpoolIntent }
  | { readonly kind: 'record'; readonly record: ChainedEvent };

/** The kind that stands in the clear on a line. */
export type SpoolKind = SpoolEntry['kind'];

/** The JSON that is sealed. */
export function spellSpoolEntry(entry: SpoolEntry): string {
  switch (entry.kind) {
    case 'open':
      return JSON.stringify(entry.facts);
    case 'intent':
      return JSON.stringify(entry.intent);
    case 'record': {
      const { seq, id, header, payload, salt, prev, chain } = entry.record;
      const binary = {
        salt: salt?.toString('base64') ?? null,
        prev: prev.toString('base64'),
        chain: chain.toString('base64'),
      };
      return JSON.stringify({ seq, id, header, payload, ...binary });
    }
  }
}

/**
 * Reads the JSON of an opened line. Its bytes are ours, authenticated by the seal, so this checks the shape only;
 * header and fields are checked where they are used next, by the stream's writer and by the backend.
 *
 * @returns Null when it is not an entry of that kind.
 */
export function parseSpoolEntry(kind: SpoolKind, text: string): SpoolEntry | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  if (kind === 'open') return { kind, facts: value as Readonly<Record<string, unknown>> };
  if (kind === 'intent') return isPlaced(value) ? { kind, intent: value as SpoolIntent } : null;
  const record = parseRecord(value as Readonly<Record<string, unknown>>);
  return record === null ? null : { kind, record };
}

function parseRecord(value: Readonly<Record<string, unknown>>): ChainedEvent | null {
  const { header, payload } = value;
  const prev = bytesOf(value.prev, hashBytes);
  const chain = bytesOf(value.chain, hashBytes);
  const salt = value.salt === null ? null : bytesOf(value.salt, saltBytes);
  if (!isPlaced(value) || typeof header !== 'string' || prev === null || chain === null) return null;
  if (payload !== null && (typeof payload !== 'string' || salt === null)) return null;
  return { seq: value.seq, id: value.id, header, payload, salt, prev, chain };
}

function isPlaced(value: object): value is Reservation {
  const { seq, id } = value as Partial<Reservation>;
  return Number.isSafeInteger(seq) && typeof id === 'string';
}

function bytesOf(text: unknown, length: number): Buffer | null {
  if (typeof text !== 'string') return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === length ? bytes : null;
}
