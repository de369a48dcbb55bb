/**
 * CSV (RFC 4180) for spreadsheets.
 *
 * - A cell that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@` of any width, or a line
 *   break or tab) gets an apostrophe in front.
 * - NUL and lone surrogates, which a header spells as escapes and no CSV can hold, stand as `\u0000`.
 */
import { type EventHeader, parseHeader } from '@kontext/audit';
import type { ExportEvent } from '../../store/queries/export-source.ts';

const columns = [
  ...[
    'received_at',
    'occurred_at',
    'event_id',
    'kind',
    'user',
    'user_id',
    'session_id',
    'agent',
    'tool',
    'tool_use_id',
  ],
  ...['decision', 'rule', 'policy_version', 'mode', 'stream_id', 'seq', 'late', 'payload'],
] as const;

/** The first line. @param payloads Whether payloads are in the file. */
export const csvHead = (payloads: boolean): string => line(columns.slice(0, payloads ? undefined : -1));

/** The line of an event. */
export function csvLine(event: ExportEvent, payloads: boolean): string {
  const header = readHeader(event.header);
  const cells = [
    ...[event.receivedAt.toISOString(), event.occurredAt.toISOString(), event.eventId, event.kind],
    ...[event.userName, event.userId, event.sessionId, event.agent, header?.tool ?? event.tool],
    ...[header?.toolUse ?? event.toolUseId, event.decision, header?.rule ?? event.rule],
    ...[event.policyVersion, header?.mode ?? null, event.streamId, event.seq, event.late ? 'late' : ''],
    ...(payloads ? [event.payload] : []),
  ];
  return line(cells.map((value) => (value === null ? '' : String(value))));
}

function readHeader(text: string): EventHeader | null {
  try {
    return parseHeader(text);
  } catch {
    return null;
  }
}

const line = (cells: readonly string[]): string => `${cells.map(csvCell).join(',')}\r\n`;

/** One cell, safe for spreadsheets. */
export function csvCell(text: string): string {
  const visible = text.replace(
    /\0|\p{Surrogate}/gu,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const safe = /^[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]/.test(visible) ? `'${visible}` : visible;
  return /[",;\r\n\t]/.test(safe) || safe !== safe.trim() ? `"${safe.replaceAll('"', '""')}"` : safe;
}
