import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { isId } from '@kontext/audit';

/** What `kontext audit verify <what>` is about. */
export type VerifyTarget = 'file' | 'session' | 'everything';

/**
 * Tells a file from a session.
 *
 * The whole id of a session means the session, whatever lies in the directory: otherwise a file an agent puts there could be
 * verified in its place. Its file is `./ses_…`. Any other name of a file that is there means the file.
 *
 * @param what As typed; empty for everything.
 * @param cwd What a relative path is relative to.
 */
export function chooseTarget(what: string, cwd: string): VerifyTarget {
  if (what === '') return 'everything';
  if (isId('ses', what)) return 'session';
  return !what.startsWith('ses_') || existsSync(resolve(cwd, what)) ? 'file' : 'session';
}
