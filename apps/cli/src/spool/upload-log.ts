/**
 * Writes down each change of an upload, once each way, while the agent's screen is in the way of saying it:
 * `uploads.log` in the state directory, a line a change. At most 256 KiB and as much of what was before.
 */
import { appendFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { KontextError } from '@kontext/errors';
import type { UploadTrouble } from './acknowledged.ts';
import type { UploadState } from './uploader.ts';

const maxLogBytes = 262_144;

/** What a state of the upload is to a reader; null when events flow. @param now When it began. */
export function toTrouble(state: UploadState, now: Date): UploadTrouble | null {
  if (state.kind === 'flowing') return null;
  const { error } = state;
  const [code, message] =
    error instanceof KontextError ? [error.code, error.message] : ['KX_INTERNAL', 'an unexpected error'];
  return { state: state.kind, since: now.toISOString(), code, message };
}

/** Appends one change. A disk that refuses it costs the line and nothing else. @param stateDir Directory it lies in; must exist. */
export function logUpload(
  stateDir: string,
  session: string,
  { at, trouble }: { readonly at: Date; readonly trouble: UploadTrouble | null },
): void {
  const path = join(stateDir, 'uploads.log');
  const what = trouble === null ? 'flowing' : `${trouble.state} ${trouble.code} ${trouble.message}`;
  try {
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > maxLogBytes) renameSync(path, `${path}.1`);
    appendFileSync(path, `${at.toISOString()} ${session} ${what.replaceAll(/\s+/g, ' ')}\n`, { mode: 0o600 });
  } catch {
    // `kontext status` still knows from the spool itself.
  }
}
