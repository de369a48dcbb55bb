import { statefulIsAuthorized } from '@cedar-policy/cedar-wasm/web';
import {
  type CallAction,
  type CallReader,
  createCallReader,
  createPolicyEngine,
  type LoadedPolicy,
  type PolicyEngine,
  type ToolCall,
} from '@kontext/policy';
import { type BenchRow, interleave, makeRow, type Samples } from './row.ts';
import { hundredRules } from './rules.ts';

const floorName = 'one bare Cedar evaluation of the same rules';
/** Decisions in one sample: the clock is coarse beside one of them. */
const inOneSample = 50;

/** Commands from short to long; the name says how many parts their calls have. */
const commands = {
  'decide/100-rules': 'npm test',
  'decide/3-commands': 'npm run build && git add -A && git commit -m "a message"',
  'decide/10-commands': Array.from({ length: 10 }, (_, at) => `tool-${at} --flag value-${at}`).join(' | '),
};

/**
 * Reading a call and deciding it by a hundred rules, in this process. Floor: one evaluation of the same pre-parsed rules with a
 * request that stands ready, in turn with it. A call is judged part by part, so one with three commands is judged four times.
 *
 * The rules were studied, as those of a session are while its agent starts; `decide/unstudied` says what the first calls cost.
 */
export async function benchDecide(rounds: number): Promise<readonly BenchRow[]> {
  const [engine, reader] = await Promise.all([createPolicyEngine(), createCallReader()]);
  const loaded = engine.load({ version: 1, policies: engine.parse(hundredRules()) });
  const unstudied = engine.load({ version: 1, policies: engine.parse(hundredRules()) });
  while (engine.study(loaded));
  const decide = (command: string, by = loaded) => prepareDecision({ engine, reader, loaded: by }, command);
  const sides = {
    ...Object.fromEntries(Object.entries(commands).map(([name, command]) => [name, sample(decide(command))])),
    'decide/unstudied': sample(decide(commands['decide/100-rules'], unstudied)),
  };
  // The engine has parsed the rules under this name, in the one instance of Cedar that a process has.
  const samples = interleave(Math.max(rounds, 40), { ...sides, floor: sample(prepareBare(loaded.hash)) });
  const none: Samples = { wallMs: [], cpuMs: null };
  return Object.keys(sides).map((name) =>
    makeRow(name, samples[name] ?? none, floorName, samples.floor ?? none),
  );
}

/** Milliseconds of one run, taken over many. */
const sample = (run: () => void) => (): number => {
  const startedAt = performance.now();
  for (let at = 0; at < inOneSample; at += 1) run();
  return (performance.now() - startedAt) / inOneSample;
};

function prepareDecision(
  { engine, reader, loaded }: { engine: PolicyEngine; reader: CallReader; loaded: LoadedPolicy },
  command: string,
): () => void {
  const world = { cwd: '/home/dev/shop', home: '/home/dev', projectRoot: '/home/dev/shop' };
  const actions: readonly CallAction[] = [{ kind: 'shell', command, shell: 'posix' }];
  const facts = { agent: 'claude', agentVersion: '2.1.330', event: 'PreToolUse', tool: 'Bash', command };
  return () => {
    const { parts, opaque } = reader.read('Bash', actions, { ...world, realPath: (path) => path });
    const call: ToolCall = {
      ...{ schema: 2, ...facts, input: { command }, parts, opaque, cwd: world.cwd, atMs: 1_764_000_000_000 },
      ...{
        permissionMode: 'default',
        subagent: null,
        repository: { name: 'github.com/acme/shop', branch: 'main' },
      },
      ...{
        credentials: ['github'],
        user: 'usr_1',
        org: 'org_1',
        session: 'ses_1',
        groups: ['dev'],
        role: 'member',
      },
    };
    const decision = engine.decide(loaded, call, 'enforce');
    if (decision.effect !== 'allow' || decision.failure !== null) throw new Error(JSON.stringify(decision));
  };
}

/** What the engine asks about `npm test`, made once. */
function prepareBare(preparsedPolicySetId: string): () => void {
  const principal = { type: 'User', id: 'usr_1' };
  const resource = { type: 'Command', id: 'npm' };
  const context = {
    ...{ agent: 'claude', agentVersion: '2.1.330', session: 'ses_1', event: 'PreToolUse', tool: 'Bash' },
    ...{ command: 'npm test', cwd: '/home/dev/shop', permissionMode: 'default', subagent: '' },
    ...{ repository: 'github.com/acme/shop', branch: 'main', credentials: ['github'], programs: ['npm'] },
    at: { __extn: { fn: 'datetime', arg: '2026-01-01T10:00:00.000Z' } },
    ...{ hour: 10, weekday: 4, opaque: false, opaqueCauses: [] },
  };
  const user = { uid: principal, attrs: { role: 'member' }, parents: [{ type: 'Group', id: 'dev' }] };
  const attrs = {
    ...{ path: 'npm', line: 'npm test', subcommand: 'test', args: ['test'], flags: [], assigns: [], via: [] },
    ...{ pipedFrom: '', dynamic: false },
  };
  const entities = [user, { uid: resource, attrs, parents: [] }];
  const action = { type: 'Action', id: 'tool_call' };
  return () => {
    const answer = statefulIsAuthorized({
      ...{ principal, action, resource, context, entities, preparsedPolicySetId },
    });
    if (answer.type === 'failure' || answer.response.diagnostics.errors.length > 0)
      throw new Error(JSON.stringify(answer));
  };
}
