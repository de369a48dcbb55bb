import { KontextError } from '@kontext/errors';
import type { Finding, SourceFile } from '@kontext/policy';

const maxFiles = 100;
const maxTotalBytes = 1 << 20;
const maxNameLength = 100;

/**
 * Checks names and sizes before anything is parsed.
 *
 * @throws KontextError `KX_REQUEST_INVALID`.
 */
export function checkSources(files: readonly SourceFile[]): void {
  if (files.length === 0) throw invalid('there are no sources');
  if (files.length > maxFiles) throw invalid(`there are more than ${maxFiles} files`);
  const bytes = files.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  if (bytes > maxTotalBytes) throw invalid('the files are larger than 1 MiB together');
  const names = new Set<string>();
  for (const { name, text } of files) {
    if (name.length > maxNameLength || !/^[a-z0-9][a-z0-9._-]*\.cedar$/.test(name))
      throw invalid(`${JSON.stringify(name.slice(0, maxNameLength))} is no name of a policy file`);
    if (names.has(name)) throw invalid(`two files are called ${name}`);
    // Postgres text cannot hold NUL.
    if (text.includes('\0')) throw invalid(`${name} holds NUL`);
    names.add(name);
  }
}

/** The error for the first thing that is wrong with sources. */
export function invalidSource(finding: Finding): KontextError {
  const { file, line, column, rule, message, hint } = finding;
  const place = [file, ...(line > 0 ? [`line ${line}`] : []), ...(rule === '' ? [] : [`rule ${rule}`])];
  return new KontextError('KX_POLICY_INVALID', `${place.join(', ')}: ${message}`, {
    ...(hint === '' ? {} : { hint }),
    details: { file, line, column, rule },
  });
}

const invalid = (message: string): KontextError => new KontextError('KX_REQUEST_INVALID', message);
