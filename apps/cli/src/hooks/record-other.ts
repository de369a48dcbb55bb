import { afterAnswer, callNames, opaqueFacts } from './event-facts.ts';
import { leftOut, type WriteRecord } from './event-sink.ts';
import type { HookRequest } from './frames.ts';
import type { HookRoom } from './hook-room.ts';
import { payloadText } from './payload-text.ts';
import type { ReadEvent } from './read-event.ts';

/** Records an event that nothing is decided about, and what the watch for tampering noticed in it. */
export function recordOther(room: HookRoom, request: HookRequest, event: ReadEvent): void {
  const { sink, agent, tampering, redactor, patterns, payloads } = room;
  const step = agent.stepOf(request.event);
  const { text: name } = redactor.redactText(request.event);
  const isFull = payloads() === 'full';
  const write = (record: WriteRecord | null, parts: () => Readonly<Record<string, unknown>>): void =>
    afterAnswer(room, record, () => (payloads() === 'omitted' ? leftOut : payloadText(patterns, parts())));
  for (const { kind, facts } of event.raw === null ? [] : tampering.look(event.raw)) {
    const { value } = redactor.redactJson(facts);
    const input = step === 'other' ? {} : { input: event.redacted?.input };
    write(sink.intend({ kind, ...callNames(room, event) }), () => ({ event: name, facts: value, ...input }));
  }
  const kind =
    step === 'completed' ? 'tool_call.completed' : step === 'failed' ? 'tool_call.failed' : 'agent.event';
  write(sink.intend({ kind, ...callNames(room, event) }), () => ({
    event: name,
    ...opaqueFacts(request, event),
    ...describeEnd(room, event, isFull),
  }));
}

/** Texts that a tool gave back are kept where the organisation keeps them in full; what they looked like is, always. */
function describeEnd({ redactor }: HookRoom, { raw, redacted }: ReadEvent, isFull: boolean) {
  const { error, ...facts } = redacted?.details ?? {};
  if (!isFull) return { details: facts };
  const details = error === undefined ? facts : { ...facts, error };
  if (raw === null || raw.result === null) return { details };
  const result = redactor.redactJson(raw.result);
  return { details, ...(result.omitted ? {} : { result: result.value }) };
}
