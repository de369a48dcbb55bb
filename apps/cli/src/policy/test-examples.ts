import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { KontextError } from '@kontext/errors';
import {
  createCallReader,
  createPolicyEngine,
  type ExampleResult,
  type PolicyEngine,
  type PolicyText,
  runExamples,
  starterPolicies,
} from '@kontext/policy';
import type { Context } from '../context.ts';
import { isDirectory, readSources, readText } from './read-sources.ts';
import { check, findingLine } from './validate.ts';

/** What examples are decided with. */
export interface TestOptions {
  /** Files and directories; left out: the starter rules. */
  readonly policies?: readonly string[];
  readonly json?: boolean;
}

/**
 * `kontext policy test`: decides examples and compares, with the engine of this machine and without a backend.
 *
 * Prints the Test Anything Protocol, version 14.
 *
 * @param paths Example files, or directories whose `*.examples.json` are meant.
 * @returns 0; 1 when an example fails; 65 when a policy cannot be loaded.
 * @throws KontextError `KX_EXAMPLES_INVALID`, `KX_POLICY_UNREADABLE`.
 */
export async function testExamples(
  { config, terminal }: Context,
  paths: readonly string[],
  { policies: policyPaths, json = false }: TestOptions,
): Promise<number> {
  const files = paths.flatMap((path) => listExamples(path, config.cwd));
  if (files.length === 0) throw noExamples(paths);
  const examples = files.map((path) => ({ name: path, text: readText(resolve(config.cwd, path), path) }));
  const [engine, reader] = await Promise.all([createPolicyEngine(), createCallReader()]);
  const policies =
    policyPaths === undefined ? starterPolicies : loadPolicies(engine, policyPaths, config.cwd, terminal.out);
  if (policies === null) return badPolicy;
  const loaded = engine.load({ version: 0, policies });
  const results = examples.flatMap((file) => runExamples(engine, loaded, reader, file));
  const failed = results.filter(({ passed }) => !passed).length;
  if (json) terminal.json({ ok: failed === 0, examples: results.map(describeResult) });
  else for (const line of tapLines(results)) terminal.out(line);
  if (failed === 0) terminal.note(`${results.length} examples passed`);
  else terminal.warn(`${failed} of ${results.length} examples failed`);
  return failed === 0 ? 0 : 1;
}

const badPolicy = 65;
const suffix = '.examples.json';

function listExamples(path: string, cwd: string): readonly string[] {
  if (!isDirectory(path, cwd)) return [path];
  return readdirSync(resolve(cwd, path))
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => join(path, name));
}

/** @returns Null when something keeps the set from being loaded; it has been printed then. */
function loadPolicies(
  engine: PolicyEngine,
  paths: readonly string[],
  cwd: string,
  out: (line: string) => void,
): readonly PolicyText[] | null {
  const { policies, findings } = check(engine, readSources(paths, cwd));
  const errors = findings.filter(({ error }) => error);
  for (const finding of errors) out(findingLine(finding));
  return errors.length === 0 ? policies : null;
}

const tapLines = (results: readonly ExampleResult[]): string[] => [
  'TAP version 14',
  `1..${results.length}`,
  ...results.flatMap(({ file, name, passed, problem }, at) => [
    `${passed ? 'ok' : 'not ok'} ${at + 1} - ${`${file}: ${name}`.replaceAll('#', '\\#')}`,
    ...(passed ? [] : ['  ---', `  message: ${JSON.stringify(problem)}`, '  ...']),
  ]),
];

const describeResult = ({ file, name, passed, problem, decision }: ExampleResult) => ({
  ...{ file, name, passed, problem },
  ...{ effect: decision.effect, rule: decision.rule, part: decision.part, reason: decision.reason },
});

const noExamples = (paths: readonly string[]): KontextError =>
  new KontextError('KX_USAGE', `there is no *${suffix} in ${paths.join(', ')}`, {
    hint: 'name example files, or a directory that holds them',
  });
