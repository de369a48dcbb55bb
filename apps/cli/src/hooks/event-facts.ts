import { headerLimits, toHeaderText } from '@kontext/audit';
import type { WriteRecord } from './event-sink.ts';
import type { HookRequest } from './frames.ts';
import type { HookRoom } from './hook-room.ts';
import { redactName } from './payload-text.ts';
import type { ReadEvent } from './read-event.ts';

/** Why a call could not be read whole, where it could not, and how large it was. */
export const opaqueFacts = (request: HookRequest, { opaque }: ReadEvent) =>
  opaque === null ? {} : { opaque, inputBytes: request.trueLength };

/** The names that the header of any event of the agent carries. */
export const callNames = (room: HookRoom, { redacted }: ReadEvent) => ({
  tool: toName(room, redacted?.tool),
  toolUse: toName(room, redacted?.toolUse),
});

/** Fit for a header, whatever the agent sends: nothing that a backend refuses, at most 256 code units, never empty. */
export const toName = ({ patterns }: HookRoom, text: string | null | undefined): string | null =>
  text ? toHeaderText(text, headerLimits.tool, (name) => redactName(patterns, name)) : null;

/** In the order of the intents, once the reply has been given to the socket. */
export function afterAnswer(
  { later }: HookRoom,
  record: WriteRecord | null,
  payload: () => Parameters<WriteRecord>[0],
): void {
  if (record === null) return;
  later.add(() => {
    let text: Parameters<WriteRecord>[0] = null;
    try {
      text = payload();
    } catch {
      // The event is written without payload.
    }
    record(text);
  });
}
