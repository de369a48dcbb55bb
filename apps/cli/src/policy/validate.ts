import { createPolicyEngine, type Finding, type PolicyEngine, type PolicyText } from '@kontext/policy';
import type { Context } from '../context.ts';
import { readSources, type SourceFile } from './read-sources.ts';

/** Directory that is meant when none is named. */
export const defaultDirectory = 'policies';

const badPolicy = 65;

/**
 * `kontext policy validate`: says everything an author should know, with the engine of this machine and without a backend.
 *
 * @param paths Files and directories; none: {@link defaultDirectory}.
 * @returns 0, or 65 when a finding is an error.
 */
export async function validate(
  { config, terminal }: Context,
  paths: readonly string[],
  json: boolean,
): Promise<number> {
  const files = readSources(paths.length === 0 ? [defaultDirectory] : paths, config.cwd);
  const engine = await createPolicyEngine();
  const { policies, findings } = check(engine, files);
  const errors = findings.filter(({ error }) => error).length;
  if (json) {
    terminal.json({ ok: errors === 0, files: files.length, rules: policies.length, findings });
  } else {
    for (const finding of findings) terminal.out(findingLine(finding));
    const summary = `${policies.length} rules in ${files.length} files`;
    const warnings = findings.length - errors;
    if (errors === 0) terminal.note(`${summary} can be published${warnings ? `; ${warnings} warnings` : ''}`);
    else terminal.warn(`${errors} errors in ${files.length} files`);
  }
  return errors === 0 ? 0 : badPolicy;
}

/** What a set of files holds. */
export interface CheckedSources {
  /** Complete only where no finding is an error. */
  readonly policies: readonly PolicyText[];
  readonly findings: readonly Finding[];
}

/** Splits and checks files; findings name them by their paths. */
export function check(engine: PolicyEngine, files: readonly SourceFile[]): CheckedSources {
  const named = files.map(({ path, text }) => ({ name: path, text }));
  return { policies: engine.parseSources(named).policies, findings: engine.lint(named) };
}

/** `policies/git.cedar:3:1: error: it has no @id("…") (missing-id); give it a name` */
export function findingLine({ error, check, file, line, column, rule, message, hint }: Finding): string {
  const place = line === 0 ? file : `${file}:${line}:${column}`;
  const about = rule === '' ? check : `${check}, rule ${rule}`;
  return `${place}: ${error ? 'error' : 'warning'}: ${message} (${about})${hint === '' ? '' : `; ${hint}`}`;
}
