/**
 * A backend whose audit log has something of everything: an organisation with a sink, a session with calls that were allowed,
 * denied and asked about, and a session of a member. Clocks of backend and command can be moved.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { approveInBrowser, type CommandResult, scratchHome } from '@kontext/testkit';
import { type DatabaseKind, openDatabase } from '../databases.ts';
import { bashCall, type Puppet, startPuppet, writeTemplate } from '../puppet.ts';
import { type ConfirmedOptions, runConfirmed } from '../run-confirmed.ts';
import { createShiftedClock, type ShiftedClock } from '../shifted-clock.ts';
import { logIn, startWorld, type World } from '../world.ts';
import { worldOf } from '../world-of.ts';
import { type SinkReceiver, startSinkReceiver } from './sink-receiver.ts';

/** See {@link openAuditStage}. */
export interface AuditStage {
  /** Of the owner. */
  readonly world: World;
  /** Of mia, a member. */
  readonly member: World;
  readonly receiver: SinkReceiver;
  /** A webhook whose receiver answers that it is gone; it is told of the question below. */
  readonly gone: { readonly id: string; readonly receiver: SinkReceiver };
  readonly clock: ShiftedClock;
  /** The owner's session, which runs until a story ends it, and mia's, which is over. */
  readonly session: Puppet;
  readonly memberSession: string;
  /** `apr_…` of the call that a person allowed. */
  readonly approval: string;
  /** Runs a command that has to succeed. @returns Its output; with `--json` see {@link json}. */
  ok(args: readonly string[], whose?: World): Promise<string>;
  /** The same, confirmed in the browser. */
  confirmed(args: readonly string[], options?: ConfirmedOptions): Promise<string>;
  /** Runs a command with `--json`. @returns The value of each line. */
  json<T>(args: readonly string[], whose?: World): Promise<T[]>;
  close(): Promise<void>;
}

/** One event as `kontext audit search --json` prints it; only what stories look at. */
export interface FoundEvent {
  readonly id: string;
  readonly streamId: string;
  readonly seq: number;
  readonly kind: string;
  readonly session: string;
  readonly user: string;
  readonly tool: string;
  readonly decision: string;
  readonly repository: string;
  readonly receivedAt: string;
  readonly header: string;
  readonly payload: string | null;
}

/** Of the owner's own directory, so that nobody else is asked. */
const rules = `
@id("no-deploy")
@reason("deploys are made by hand")
forbid (principal, action == Action::"tool_call", resource == Command::"make")
when { resource.subcommand == "deploy" };

@id("ask-touch")
@effect("ask")
@reason("touching wants a look")
forbid (principal, action == Action::"tool_call", resource == Command::"touch");
`;

/** Opens a stage; both sessions have said all they say but for the end of the owner's. */
export async function openAuditStage(kind: DatabaseKind): Promise<AuditStage> {
  const database = await openDatabase(kind);
  const clockHome = scratchHome();
  const clock = createShiftedClock(clockHome.root);
  const shifted = { NODE_OPTIONS: `--require ${clock.preload}` };
  const world = await startWorld({
    ...{ upstream: false, people: [{ name: 'mia' }], backendEnv: shifted, cliEnv: shifted },
    ...(database.url === undefined ? {} : { databaseUrl: database.url }),
  });
  check(await logIn(world, ['--insecure-storage']));
  const member = await worldOf(world, 'mia');
  const receiver = await startSinkReceiver();
  const ok: AuditStage['ok'] = async (args, whose = world) => check(await whose.cli(args));
  const confirmed: AuditStage['confirmed'] = async (args, options) =>
    check(await runConfirmed(world, args, options));
  const json = async <T>(args: readonly string[], whose?: World): Promise<T[]> =>
    readLines(await ok([...args, '--json'], whose));

  const added = await confirmed(['sinks', 'add', 'siem', receiver.url, '--payloads', '--json']);
  receiver.secret = (JSON.parse(added) as { readonly secret: string }).secret;
  const goneReceiver = await startSinkReceiver();
  goneReceiver.status = 410;
  const { id } = JSON.parse(await confirmed(['webhooks', 'add', goneReceiver.url, '--json']));
  const gone = { id, receiver: goneReceiver };
  await confirmed(['secrets', 'put', 'stripe'], { stdin: 'sk_test_of_the_story' });
  const memberSession = await workAsMember(member);
  const { session, approval } = await workAsOwner(world, json);
  return {
    ...{ world, member, receiver, gone, clock, session, memberSession, approval, ok, confirmed, json },
    async close() {
      await session.end();
      await member.close();
      await world.close();
      await receiver.close();
      await goneReceiver.close();
      await database.close();
      clockHome.remove();
    },
  };
}

/** A session with one call of each fate. */
async function workAsOwner(world: World, json: AuditStage['json']) {
  const config = join(world.home.env.XDG_CONFIG_HOME ?? '', 'kontext/policy');
  mkdirSync(config, { recursive: true });
  writeFileSync(join(config, 'mine.cedar'), rules);
  const git = join(world.home.workDir, '.git');
  for (const folder of ['objects', 'refs']) mkdirSync(join(git, folder), { recursive: true });
  writeFileSync(join(git, 'HEAD'), 'ref: refs/heads/main\n');
  writeFileSync(join(git, 'config'), '[remote "origin"]\n\turl = https://github.com/acme/shop.git\n');
  writeTemplate(world, 'STRIPE_KEY={{kontext:stripe}}\n');
  const session = await startPuppet(world, ['--mode', 'enforce']);
  await session.hook('SessionStart', { source: 'startup' });
  await session.hook('UserPromptSubmit', { prompt: 'ship it' });
  for (const [id, command] of Object.entries({ echo: 'echo "quarterly report"', build: 'make build' })) {
    const call = bashCall(command, id);
    await session.hook('PreToolUse', call);
    await session.hook('PostToolUse', { ...call, tool_response: { stdout: 'fine' }, duration_ms: 1 });
  }
  await session.hook('PreToolUse', bashCall('make deploy', 'deploy'));
  const read = { tool_name: 'Read', tool_input: { file_path: '/etc/hostname' }, tool_use_id: 'toolu_read' };
  await session.hook('PreToolUse', read);
  await session.hook('PostToolUseFailure', { ...read, error: 'no such file' });
  const mcp = {
    tool_name: 'mcp__github__list_issues',
    tool_input: { repo: 'shop' },
    tool_use_id: 'toolu_mcp',
  };
  await session.hook('PreToolUse', mcp);
  return { session, approval: await approveTouch(world, session, json) };
}

/** The agent's call waits in its hook while the person answers. @returns Id of the question. */
async function approveTouch(world: World, session: Puppet, json: AuditStage['json']): Promise<string> {
  let isOver = false;
  const waiting = session.hook('PreToolUse', bashCall('touch made.txt', 'touch')).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const [requests = []] = await json<{ readonly id: string; readonly url: string }[]>(['requests', 'ls']);
    const [request] = requests;
    if (request === undefined) continue;
    const { account, passcode } = world;
    await approveInBrowser({ url: request.url, account, passcode, decision: 'once' });
    await waiting;
    return request.id;
  }
  throw new Error(`nobody was asked: ${(await waiting).stdout}`);
}

/** @returns Id of the session, which is over. */
async function workAsMember(member: World): Promise<string> {
  writeTemplate(member, 'LEVEL=debug\n');
  const session = await startPuppet(member);
  await session.hook('PreToolUse', bashCall('ls -la', 'ls'));
  check(await session.end());
  return session.sessionId;
}

/** @returns What it wrote. @throws Error with it when the command failed. */
function check({ exitCode, stdout, stderr }: CommandResult): string {
  if (exitCode !== 0) throw new Error(`it ended with ${exitCode}: ${stdout}${stderr}`);
  return stdout;
}

const readLines = <T>(text: string): T[] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as T);

/** All events that match, newest first. */
export const searchEvents = (
  { json, world }: AuditStage,
  query: readonly string[],
  whose: World = world,
): Promise<FoundEvent[]> => json(['audit', 'search', '--all', '--payloads', ...query], whose);
