/**
 * Example files: calls, uses of credentials and starts of sessions, and what a set of policies must decide about them, beside the policies as `*.examples.json`.
 *
 * Read strictly: a misspelt member would be an example that tests nothing.
 */
import { KontextError } from '@kontext/errors';
import { parseExampleStart, parseExampleUse } from './parse-example-request.ts';
import type { SourceFile } from './parse-sources.ts';
import {
  type Fail,
  instant,
  type Members,
  oneOf,
  onlyKnown,
  record,
  string,
  strings,
} from './read-members.ts';
import type { CredentialUse, SessionStart } from './session-request.ts';

/** What an example asks about, by the action of Cedar it is. */
export type ExampleSubject =
  | { readonly action: 'tool_call'; readonly call: ExampleCall }
  | { readonly action: 'credential_use'; readonly use: CredentialUse }
  | { readonly action: 'session_start'; readonly start: SessionStart };

/** One question and what must be decided about it. */
export interface PolicyExample {
  readonly name: string;
  readonly effect: 'allow' | 'deny' | 'ask';
  /** Rule that must decide; null: none must; undefined: any may. */
  readonly rule: string | null | undefined;
  readonly subject: ExampleSubject;
}

/** A call as an author writes it; what is missing has a default. */
export interface ExampleCall {
  readonly tool: string;
  readonly command?: string;
  readonly file?: { readonly path: string; readonly access: 'read' | 'write' };
  readonly url?: string;
  readonly mcp?: { readonly server: string; readonly tool: string; readonly input?: unknown };
  /** The tool's input. Default: what the members above say. */
  readonly input?: unknown;
  readonly agent?: string;
  readonly agentVersion?: string;
  readonly event?: string;
  readonly cwd?: string;
  readonly projectRoot?: string;
  readonly permissionMode?: string;
  readonly subagent?: string;
  readonly repository?: string;
  readonly branch?: string;
  readonly groups?: readonly string[];
  readonly role?: string;
  readonly credentials?: readonly string[];
  /** Instant, ISO 8601, such as `2026-03-01T22:30:00Z`. */
  readonly at?: string;
}

const maxExamples = 10_000;

/**
 * Parses an example file.
 *
 * @throws KontextError `KX_EXAMPLES_INVALID` naming the file, the example and the member.
 */
export function parseExamples(file: SourceFile): readonly PolicyExample[] {
  const fail = (place: string, why: string): never => {
    throw new KontextError('KX_EXAMPLES_INVALID', `${file.name}${place}: ${why}`);
  };
  const root = record(parseJson(file, fail), '', fail);
  onlyKnown(root, ['v', 'examples'], '', fail);
  if (root.v !== 1) fail(', v', 'it must be 1');
  if (!Array.isArray(root.examples)) return fail(', examples', 'it must be a list');
  if (root.examples.length > maxExamples) fail(', examples', `there are more than ${maxExamples}`);
  return root.examples.map((example: unknown, index) =>
    parseExample(example, `, example ${index + 1}`, fail),
  );
}

function parseJson(file: SourceFile, fail: Fail): unknown {
  try {
    return JSON.parse(file.text.replace(/^\ufeff/, ''));
  } catch (error) {
    return fail('', `it is no JSON: ${error instanceof Error ? error.message : ''}`);
  }
}

function parseExample(value: unknown, place: string, fail: Fail): PolicyExample {
  const example = record(value, place, fail);
  onlyKnown(example, ['name', 'rule', 'effect', ...subjects], place, fail);
  const name = string(example.name, `${place}, name`, fail);
  const at = `${place} (${name})`;
  const { rule } = example;
  return {
    name,
    effect: oneOf(example.effect, ['allow', 'deny', 'ask'] as const, `${at}, effect`, fail),
    rule: rule === undefined || rule === null ? rule : string(rule, `${at}, rule`, fail),
    subject: parseSubject(example, at, fail),
  };
}

const subjects = ['call', 'credential_use', 'session_start'] as const;

function parseSubject(example: Members, at: string, fail: Fail): ExampleSubject {
  const given = subjects.filter((name) => example[name] !== undefined);
  if (given.length !== 1) fail(at, `it must have one of ${subjects.join(', ')}`);
  const place = `${at}, ${given[0]}`;
  if (given[0] === 'credential_use')
    return { action: 'credential_use', use: parseExampleUse(example.credential_use, place, fail) };
  if (given[0] === 'session_start')
    return { action: 'session_start', start: parseExampleStart(example.session_start, place, fail) };
  return { action: 'tool_call', call: parseCall(example.call, place, fail) };
}

const texts = [
  ...(['command', 'url', 'agent', 'agentVersion', 'event', 'cwd', 'projectRoot', 'permissionMode'] as const),
  ...(['subagent', 'repository', 'branch', 'role', 'at'] as const),
];
const lists = ['groups', 'credentials'] as const;
const members = ['tool', 'file', 'mcp', 'input', ...texts, ...lists];

function parseCall(value: unknown, place: string, fail: Fail): ExampleCall {
  const call = record(value, place, fail);
  onlyKnown(call, members, place, fail);
  const tool = call.mcp === undefined ? string(call.tool, `${place}.tool`, fail) : String(call.tool ?? '');
  for (const name of texts) if (call[name] !== undefined) string(call[name], `${place}.${name}`, fail);
  for (const name of lists) if (call[name] !== undefined) strings(call[name], `${place}.${name}`, fail);
  if (call.file !== undefined) checkFile(call.file, `${place}.file`, fail);
  if (call.mcp !== undefined) checkMcp(call.mcp, `${place}.mcp`, fail);
  for (const name of ['cwd', 'projectRoot'] as const)
    if (call[name] !== undefined && !String(call[name]).startsWith('/'))
      fail(`${place}.${name}`, 'it must be an absolute path');
  if (call.at !== undefined) instant(call.at, `${place}.at`, fail);
  // Every member was checked just above.
  return { ...(call as unknown as ExampleCall), tool };
}

function checkFile(value: unknown, place: string, fail: Fail): void {
  const file = record(value, place, fail);
  onlyKnown(file, ['path', 'access'], place, fail);
  string(file.path, `${place}.path`, fail);
  oneOf(file.access, ['read', 'write'] as const, `${place}.access`, fail);
}

function checkMcp(value: unknown, place: string, fail: Fail): void {
  const mcp = record(value, place, fail);
  onlyKnown(mcp, ['server', 'tool', 'input'], place, fail);
  string(mcp.server, `${place}.server`, fail);
  string(mcp.tool, `${place}.tool`, fail);
}
