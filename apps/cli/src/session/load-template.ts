import {
  type EnvTemplate,
  parseEnvTemplate,
  type TemplateProblem,
  templateLimits,
} from '@kontext/env-template';
import { KontextError } from '@kontext/errors';
import { readAtMost } from '../read-at-most.ts';
import type { Terminal } from '../terminal.ts';

/**
 * Reads and parses the env template.
 *
 * @throws KontextError `KX_TEMPLATE_MISSING`, `KX_TEMPLATE_UNREADABLE`, and what {@link parseEnvTemplate} throws.
 */
export function loadTemplate(path: string): EnvTemplate {
  const bytes = readBytes(path);
  if (bytes.length > templateLimits.fileBytes) {
    throw new KontextError('KX_TEMPLATE_TOO_LARGE', `${path} is larger than 1 MiB`);
  }
  return parseEnvTemplate(bytes);
}

/**
 * Tells a person every problem of a template, with file, line and column.
 *
 * @param strict Whether any problem is fatal.
 * @throws KontextError with the code of the first problem when `strict` is set and there is one.
 */
export function reportProblems(
  template: EnvTemplate,
  path: string,
  terminal: Pick<Terminal, 'warn'>,
  strict: boolean,
): void {
  for (const problem of template.problems) {
    terminal.warn(
      `${path}:${problem.line}:${problem.column}: ${problem.message} (${problem.code})${effect(problem)}`,
    );
  }
  const [first] = template.problems;
  if (!strict || first === undefined) return;
  throw new KontextError(
    first.code,
    `${path} has ${template.problems.length} problem(s), and --strict accepts none`,
    {
      why: `line ${first.line}: ${first.message}`,
      details: { line: first.line, column: first.column },
    },
  );
}

const effect = ({ name, severity }: TemplateProblem): string =>
  severity === 'error' && name !== undefined ? `; ${name} is not set` : '';

function readBytes(path: string): Uint8Array {
  try {
    return readAtMost(path, templateLimits.fileBytes + 1);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    if (code === 'ENOENT') throw new KontextError('KX_TEMPLATE_MISSING', `there is no ${path}`, { cause });
    throw new KontextError('KX_TEMPLATE_UNREADABLE', `${path} cannot be read`, {
      why: code === 'EISDIR' ? 'it is a directory' : `the system answered ${code || 'an unknown error'}`,
      cause,
    });
  }
}
