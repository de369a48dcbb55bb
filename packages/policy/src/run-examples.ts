import type { CallReader } from './call-reader.ts';
import type { CallAction } from './call-world.ts';
import type { LoadedPolicy } from './loaded-policy.ts';
import { exampleInstant } from './parse-example-request.ts';
import {
  type ExampleCall,
  type ExampleSubject,
  type PolicyExample,
  parseExamples,
} from './parse-examples.ts';
import type { SourceFile } from './parse-sources.ts';
import type { PolicyEngine } from './policy-engine.ts';
import type { Decision, ToolCall } from './tool-call.ts';

/** How one example came out. */
export interface ExampleResult {
  /** Name of the example file. */
  readonly file: string;
  readonly name: string;
  readonly passed: boolean;
  /** What was expected and what was decided, one line; empty when it passed. */
  readonly problem: string;
  readonly decision: Decision;
  /** The call that was decided, as it would be recorded; null where the example is about no call. */
  readonly call: ToolCall | null;
}

/**
 * Decides every example of a file.
 *
 * Paths mean those of a machine whose user has the home `/home/dev` and works in the project `/home/dev/shop`, without links.
 *
 * @throws KontextError `KX_EXAMPLES_INVALID` naming the file, the example and the member.
 */
export function runExamples(
  engine: PolicyEngine,
  loaded: LoadedPolicy,
  reader: CallReader,
  file: SourceFile,
): readonly ExampleResult[] {
  return parseExamples(file).map((example) => {
    const { decision, call } = decideExample(engine, loaded, reader, example.subject);
    const problem = problemOf(example, decision);
    return { file: file.name, name: example.name, passed: problem === '', problem, decision, call };
  });
}

function decideExample(
  engine: PolicyEngine,
  loaded: LoadedPolicy,
  reader: CallReader,
  subject: ExampleSubject,
) {
  if (subject.action === 'credential_use')
    return { decision: engine.decideCredential(loaded, subject.use, 'enforce'), call: null };
  if (subject.action === 'session_start')
    return { decision: engine.decideSessionStart(loaded, subject.start, 'enforce'), call: null };
  const call = exampleCall(reader, subject.call);
  return { decision: engine.decide(loaded, call, 'enforce'), call };
}

function problemOf({ effect, rule }: PolicyExample, decision: Decision): string {
  const got = `got ${decision.effect}${decision.rule === null ? '' : ` by ${decision.rule}`}`;
  if (decision.failure !== null) return `expected ${effect}, got a failure: ${decision.failure}`;
  if (decision.effect !== effect)
    return `expected ${effect}${typeof rule === 'string' ? ` by ${rule}` : ''}, ${got}`;
  if (rule !== undefined && rule !== decision.rule)
    return `expected ${effect} by ${rule ?? 'no rule'}, ${got}`;
  return '';
}

const home = '/home/dev';
const project = '/home/dev/shop';

/** The call an example means. */
function exampleCall(reader: CallReader, example: ExampleCall): ToolCall {
  const cwd = example.cwd ?? example.projectRoot ?? project;
  const projectRoot = example.projectRoot ?? project;
  const tool = example.tool || (example.mcp ? `mcp__${example.mcp.server}__${example.mcp.tool}` : '');
  const { parts, opaque } = reader.read(tool, actionsOf(example), {
    cwd,
    home,
    projectRoot,
    realPath: (path) => path,
  });
  const { repository = '', branch = '' } = example;
  return {
    schema: 2,
    ...{ agent: example.agent ?? 'claude', agentVersion: example.agentVersion ?? '' },
    ...{ event: example.event ?? 'PreToolUse', tool, input: inputOf(example) },
    ...{ command: example.command ?? null, parts, opaque, cwd },
    permissionMode: example.permissionMode ?? 'default',
    subagent: example.subagent ?? null,
    repository: repository === '' && branch === '' ? null : { name: repository, branch },
    credentials: [...(example.credentials ?? [])].sort(),
    atMs: Date.parse(example.at ?? exampleInstant),
    ...{ user: 'usr_example', org: 'org_example', session: 'ses_example' },
    ...{ groups: example.groups ?? [], role: example.role ?? 'member' },
  };
}

function actionsOf({ command, file, url, mcp }: ExampleCall): readonly CallAction[] {
  return [
    ...(mcp ? [{ kind: 'mcp' as const, server: mcp.server, tool: mcp.tool }] : []),
    ...(command === undefined ? [] : [{ kind: 'shell' as const, command, shell: 'posix' as const }]),
    ...(file ? [{ kind: 'file' as const, ...file }] : []),
    ...(url === undefined ? [] : [{ kind: 'fetch' as const, url }]),
  ];
}

function inputOf({ input, command, file, url, mcp }: ExampleCall): unknown {
  if (input !== undefined) return input;
  if (mcp) return mcp.input ?? {};
  if (command !== undefined) return { command };
  if (file) return { file_path: file.path };
  return url === undefined ? {} : { url };
}
