import type { DetailedError, PolicyJson } from '@cedar-policy/cedar-wasm/web';
import { oneLine } from './describe-part.ts';
import { type Finding, type FindingCheck, placeOf } from './finding.ts';
import type { Cedar } from './load-cedar.ts';
import { isRuleId, maxPolicies, maxTotalBytes } from './policy-limits.ts';
import { depthOf, maxDepth, type PolicyPiece, splitPolicies } from './scan-policies.ts';
import type { PolicyText } from './tool-call.ts';

/** One file of policies as its author wrote it. */
export interface SourceFile {
  /** Only for findings, such as `git.cedar`. */
  readonly name: string;
  readonly text: string;
}

/** What came out of files. */
export interface ParsedSources {
  /** The policies that can be used, in the order of the files; complete only without findings. */
  readonly policies: readonly PolicyText[];
  /** Every one an error. */
  readonly findings: readonly Finding[];
}

/** A policy that parses, where it stands, and what it says. */
export interface LocatedPolicy extends PolicyText {
  readonly file: SourceFile;
  /** Offset in the file, in UTF-16 code units. */
  readonly start: number;
  readonly json: PolicyJson;
}

/** Parses files; see `PolicyEngine.parseSources`. */
export function parseSources(cedar: Cedar, files: readonly SourceFile[]): ParsedSources {
  const { policies, findings } = locatePolicies(cedar, files);
  return { policies: policies.map(({ id, text }) => ({ id, text })), findings };
}

/** Parses files, and keeps where each policy stands and its JSON. */
export function locatePolicies(cedar: Cedar, files: readonly SourceFile[]) {
  const policies: LocatedPolicy[] = [];
  const findings: Finding[] = [];
  const bytes = files.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  if (bytes > maxTotalBytes) return { policies, findings: [tooLarge(files, 'they are larger than 1 MiB')] };
  const ids = new Set<string>();
  for (const file of files) {
    for (const piece of splitPolicies(file.text)) {
      if (policies.length + findings.length >= maxPolicies)
        return {
          policies,
          findings: [...findings, tooLarge(files, `there are more than ${maxPolicies} rules`)],
        };
      const read = readPiece(cedar, file, piece, ids);
      if ('json' in read) policies.push(read);
      else findings.push(read);
    }
  }
  return { policies, findings };
}

function readPiece(cedar: Cedar, file: SourceFile, piece: PolicyPiece, ids: Set<string>) {
  const at = (
    check: FindingCheck,
    message: string,
    hint: string,
    offset = piece.start,
    rule = '',
  ): Finding => ({
    ...{ error: true, check, file: file.name, ...placeOf(file.text, offset), rule },
    ...{ message: oneLine(message, 500), hint },
  });
  // Cedar's bindings throw on text that is not Unicode.
  const broken = piece.text.search(/\p{Surrogate}/u);
  if (broken >= 0)
    return at('unparsable', 'it is not valid Unicode', 'save the file as UTF-8', piece.start + broken);
  if (depthOf(piece.text) > maxDepth) {
    const message = 'its conditions are nested or chained too deeply';
    return at('too-deep', message, 'split it into several rules, or use a set and "contains"');
  }
  const answer = cedar.policyToJson(piece.text);
  if (answer.type === 'failure') {
    const isTemplate = cedar.templateToJson(piece.text).type === 'success';
    if (isTemplate) return at('template', 'it is a template', 'write the user or group instead of the slot');
    const [error] = answer.errors;
    return at('unparsable', parseMessage(error), error?.help ?? 'see docs/policy.md', offsetOf(piece, error));
  }
  const id = answer.json.annotations?.id;
  if (!id)
    return at('missing-id', 'it has no @id("…")', 'give it a name: decisions and records are told by it');
  if (!isRuleId(id)) {
    const hint = 'letters, digits, ".", "_" and "-", at most 128, a letter or digit first';
    return at('bad-id', `${JSON.stringify(id.slice(0, 140))} cannot name a rule`, hint);
  }
  if (ids.has(id))
    return at('duplicate-id', `another rule is called ${id}`, 'rename one of them', piece.start, id);
  ids.add(id);
  return { id, text: piece.text, file, start: piece.start, json: answer.json };
}

/** What Cedar says of a text it cannot parse, with what it expected. */
function parseMessage(error: DetailedError | undefined): string {
  const message = (error?.message ?? 'it cannot be parsed').replace(
    'failed to parse policy from string: ',
    '',
  );
  const label = error?.sourceLocations?.find((place) => place.label)?.label;
  return label ? `${message}: ${label}` : message;
}

/** Where Cedar points at, as an offset in the file: it counts bytes of UTF-8 in the piece. */
export function offsetOf(
  { text, start }: { readonly text: string; readonly start: number },
  error: DetailedError | undefined,
): number {
  const bytes = error?.sourceLocations?.[0]?.start ?? 0;
  return start + Buffer.from(text).subarray(0, bytes).toString('utf8').length;
}

const tooLarge = (files: readonly SourceFile[], message: string): Finding => ({
  ...{ error: true, check: 'too-large', file: files.at(-1)?.name ?? '', line: 0, column: 0, rule: '' },
  ...{ message, hint: 'leave out what no longer decides anything' },
});
