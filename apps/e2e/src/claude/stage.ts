/**
 * A stage for the real Claude Code: one world, logged in, where each run gets a project and a configuration of its own.
 *
 * The model is a script on loopback; everything between it and the audit log is what a user has.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  type CommandResult,
  claudeEnv,
  findClaude,
  type ModelScript,
  type ModelServer,
  runCommand,
  startModelServer,
  type ToolUse,
} from '@kontext/testkit';
import { findUndocumented } from '../find-undocumented.ts';
import { type AuditTail, followAudit, type TailedEvent } from '../follow-audit.ts';
import { logIn, startWorld, type World, type WorldOptions } from '../world.ts';

/** An empty project with a template, and a folder somebody might delete. */
export interface Project {
  readonly dir: string;
  /** `CLAUDE_CONFIG_DIR` of runs in this project. */
  readonly configDir: string;
  /** A folder with one file in it. */
  readonly victim: string;
  /** Writes a file below the project, with its folders; objects as JSON. @returns Its absolute path. */
  write(path: string, content: string | object): string;
}

/** One run of the agent through `kontext start`. */
export interface StartOptions {
  readonly project: Project;
  readonly model: ModelScript;
  readonly mode?: 'observe' | 'enforce';
  /** Arguments of the agent; `-p go` when left out. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input, where it must outlive `kontext start`; a pipe of {@link RunningAgent.child} when left out. */
  readonly stdin?: Readable;
  readonly timeoutMs?: number;
}

/** A run that goes on. */
export interface RunningAgent {
  /** `kontext start` itself. */
  readonly child: ChildProcess;
  readonly model: ModelServer;
  /** Settles when nobody holds the outputs any more: neither kontext nor the agent. */
  readonly ended: Promise<FinishedAgent>;
  /** What standard output held so far. */
  stdout(): string;
}

/** A run that is over. */
export interface FinishedAgent extends CommandResult {
  readonly model: ModelServer;
  /** Empty when no session was opened. */
  readonly sessionId: string;
}

/** See the file's comment. */
export interface ClaudeStage {
  readonly world: World;
  readonly tail: AuditTail;
  makeProject(template?: string): Project;
  /** Starts the agent and leaves it running; standard input is open. */
  launch(options: StartOptions): Promise<RunningAgent>;
  /** Runs the agent to its end with an empty standard input. */
  start(options: StartOptions): Promise<FinishedAgent>;
  /** Runs the agent without kontext, to show what it does where nobody objects. */
  runBare(project: Project, args: readonly string[], model: ModelScript): Promise<CommandResult>;
  /** The events of the run's session once its end has been stored, in the order they were stored. */
  eventsOf(run: FinishedAgent): Promise<readonly RecordedEvent[]>;
  /** Ends all of it. Rejects when an event that was recorded is not as docs/audit-events.md says. */
  close(): Promise<void>;
}

/** An event of the audit log with header and payload taken apart. */
export interface RecordedEvent extends Omit<TailedEvent, 'header' | 'payload'> {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
  /** The command of a shell call; empty elsewhere. */
  readonly command: string;
}

/**
 * Makes the world, logs in by the device flow, and follows the audit log.
 *
 * @param options Of the world, where they differ: other programs, another way to the backend.
 */
export async function setClaudeStage(options: WorldOptions = {}): Promise<ClaudeStage> {
  const world = await startWorld({ upstream: false, fresh: false, ...options });
  const login = await logIn(world, ['--insecure-storage']);
  if (login.exitCode !== 0) throw new Error(`the login failed: ${login.stderr}`);
  const bin = join(world.home.root, 'bin');
  mkdirSync(bin);
  symlinkSync(findClaude() ?? '', join(bin, 'claude'));
  const tail = followAudit(world);
  const models: ModelServer[] = [];

  const launch = async (options: StartOptions): Promise<RunningAgent> => {
    const model = await startModelServer(options.model);
    models.push(model);
    return runAgent(world, bin, model, options);
  };
  return {
    world,
    tail,
    makeProject: (template) => makeProject(world, template),
    launch,
    async start(options) {
      const running = await launch(options);
      running.child.stdin?.end();
      return running.ended;
    },
    async runBare(project, args, script) {
      const model = await startModelServer(script);
      models.push(model);
      const env = { ...world.home.env, ...claudeEnv({ configDir: project.configDir, modelUrl: model.url }) };
      return runCommand(findClaude() ?? '', args, { env, cwd: project.dir });
    },
    async eventsOf({ sessionId, stdout, stderr }) {
      if (sessionId === '') throw new Error(`the agent was not started: ${stdout}${stderr}`);
      await tail.waitFor((event) => event.kind === 'session.ended' && event.session === sessionId);
      return tail.events.filter((event) => event.session === sessionId).map(readEvent);
    },
    async close() {
      await tail.stop();
      for (const model of models) await model.stop();
      await world.close();
      const problems = findUndocumented(tail.events);
      if (problems.length > 0) throw new Error(`events are not as documented:\n${problems.join('\n')}`);
    },
  };
}

function makeProject(world: World, template = 'LOG_LEVEL=debug\n'): Project {
  const dir = mkdtempSync(join(world.home.workDir, 'p'));
  const configDir = mkdtempSync(join(world.home.root, 'claude-'));
  const write = (path: string, content: string | object): string => {
    const file = join(dir, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    return file;
  };
  write('.env.kontext', template);
  write('victim/thesis.txt', 'years of work\n');
  return { dir, configDir, victim: join(dir, 'victim'), write };
}

function runAgent(world: World, bin: string, model: ModelServer, options: StartOptions): RunningAgent {
  const { project, mode = 'enforce', args = ['-p', 'go'], timeoutMs = 50_000 } = options;
  const [file = '', ...leading] = world.programs.kontext;
  const child = spawn(
    file,
    [...leading, 'start', '--agent', 'claude', '--trust', '--mode', mode, '--', ...args],
    {
      cwd: project.dir,
      env: {
        ...world.env,
        ...claudeEnv({ configDir: project.configDir, modelUrl: model.url }),
        ...options.env,
        PATH: `${bin}:${world.env.PATH}`,
      },
      stdio: [options.stdin ?? 'pipe', 'pipe', 'pipe'],
    },
  );
  const out = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      out[name] += text;
    });
  }
  // An agent may end without reading its input.
  child.stdin?.on('error', () => undefined);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const ended = new Promise<FinishedAgent>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => {
      clearTimeout(timer);
      const sessionId = /\bses_[0-9a-f-]+/.exec(out.stderr)?.[0] ?? '';
      resolve({ exitCode, signal, ...out, model, sessionId });
    });
  });
  return { child, model, ended, stdout: () => out.stdout };
}

/** A shell call as the model asks for it. */
export const bash = (id: string, command: string): { readonly toolUses: readonly ToolUse[] } => ({
  toolUses: [{ id, name: 'Bash', input: { command, description: 'a step of the story' } }],
});

function readEvent(event: TailedEvent): RecordedEvent {
  const payload = JSON.parse(event.payload ?? '{}') as { readonly call?: { readonly command?: string } };
  return {
    ...event,
    header: JSON.parse(event.header) as Record<string, unknown>,
    payload,
    command: payload.call?.command ?? '',
  };
}

/** Kind, tool call and decision of each event that is about a tool call. */
export const toolStory = (events: readonly RecordedEvent[]): readonly string[] =>
  events
    .filter(({ kind }) => kind.startsWith('tool_call.') || kind.startsWith('approval.'))
    .map(({ kind, decision, header }) => [kind, header.toolUse, decision].filter(Boolean).join(' '));
