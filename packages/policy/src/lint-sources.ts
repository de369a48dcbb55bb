import type { Finding } from './finding.ts';
import type { Cedar } from './load-cedar.ts';
import { locatePolicies, type SourceFile } from './parse-sources.ts';

/** Lints files; see `PolicyEngine.lint`. */
export function lintSources(cedar: Cedar, files: readonly SourceFile[]): readonly Finding[] {
  return locatePolicies(cedar, files).findings;
}
