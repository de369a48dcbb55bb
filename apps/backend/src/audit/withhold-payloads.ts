/**
 * Looks for secrets in what clients send, whatever they say of how they redacted it. The bytes of an event are never changed:
 * a payload with a secret in it is dropped with its salt, and the header, which only names its hash, stays.
 */
import { type CheckedEvent, plainPayloadNames } from '@kontext/audit';
import { createPayloadRedactor } from '@kontext/redaction';

/** A payload that was not stored. */
export interface WithheldPayload {
  readonly seq: number;
  /** Names of the rules that found something; `unreadable` when it could not be searched to its end. */
  readonly rules: readonly string[];
}

/**
 * By count and not by the clock, so that a busy machine costs no payload: a payload has at most 128 KiB, and every rule costs
 * work in proportion.
 */
const redactor = createPayloadRedactor({
  ...{ secrets: [], nowMs: () => 0, plainNames: plainPayloadNames },
});

/** Says which payloads must not be stored, and gives back the events as they may be. */
export function withholdPayloads(events: readonly CheckedEvent[]): {
  readonly events: readonly CheckedEvent[];
  readonly withheld: readonly WithheldPayload[];
} {
  const withheld = events.flatMap(({ seq, payload }) => {
    const check = payload === null ? null : redactor.checkPayload(payload);
    if (check === null || check.kind === 'clean') return [];
    return [{ seq, rules: check.kind === 'found' ? check.rules : ['unreadable'] }];
  });
  if (withheld.length === 0) return { events, withheld };
  const seqs = new Set(withheld.map(({ seq }) => seq));
  const kept = events.map((event) => (seqs.has(event.seq) ? { ...event, payload: null, salt: null } : event));
  return { events: kept, withheld };
}

/** A text of a client as it may stand in an event of ours. */
export function withoutSecrets(text: string): string {
  const redacted = redactor.redactText(text);
  return redacted.kind === 'redacted' ? redacted.text : '';
}
