import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  claudeEnv,
  findClaude,
  type ModelScript,
  type ModelServer,
  partState,
  runCommand,
  startModelServer,
  toolResults,
} from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bash, type ClaudeStage, type Project, setClaudeStage } from '../claude/stage.ts';
import { copyPrograms } from '../copied-programs.ts';

const claude = partState('claude');
const bypass = ['-p', 'go', '--permission-mode', 'bypassPermissions'];

describe.skipIf(!claude.available)(`the plain Claude Code after \`kontext setup\` ${claude.reason}`, () => {
  let stage: ClaudeStage;
  let project: Project;
  let seen: number;
  const models: ModelServer[] = [];
  let folder: string;
  beforeAll(async () => {
    // Whoever builds meanwhile would upgrade the daemon.
    folder = mkdtempSync(join(tmpdir(), 'kx-programs-'));
    stage = await setClaudeStage({ programs: copyPrograms(folder), fresh: false });
  });
  beforeEach(() => {
    project = stage.makeProject();
    seen = stage.tail.events.length;
  });
  afterEach(async () => {
    await kontext(['uninstall']);
    for (const model of models.splice(0)) await model.stop();
  });
  afterAll(async () => {
    await stage?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const kontext = async (args: readonly string[], program = stage.world.programs.kontext) => {
    const [file = '', ...leading] = program;
    // What setup finds in the environment it writes into the hooks: where the login is kept, too.
    const env = { ...stage.world.env, CLAUDE_CONFIG_DIR: project.configDir, KONTEXT_LOGIN_STORE: 'file' };
    const run = await runCommand(file, [...leading, ...args], { env, cwd: project.dir });
    if (run.exitCode !== 0) throw new Error(`kontext ${args.join(' ')}: ${run.stdout}${run.stderr}`);
    return run.stdout;
  };
  /** The agent as a person starts it: kontext is nowhere on the command line. */
  const runPlain = async (script: ModelScript) => {
    const model = await startModelServer(script);
    models.push(model);
    const env = {
      ...stage.world.home.env,
      ...claudeEnv({ configDir: project.configDir, modelUrl: model.url }),
    };
    const run = await runCommand(findClaude() ?? '', bypass, { env, cwd: project.dir });
    const results = new Map(model.turns.flatMap((turn) => [...toolResults(turn)]));
    return { ...run, textOf: (id: string) => results.get(id)?.text ?? '' };
  };
  const made = (name: string): boolean => existsSync(join(project.dir, name));
  const runtimeDir = (): string => join(stage.world.home.env.XDG_RUNTIME_DIR ?? '', 'kontext');
  /** The daemon's process, by the mark in its directory. */
  const daemonPid = (): number => {
    const mark = join(runtimeDir(), readlinkSync(join(runtimeDir(), 'd')), 'writer.json');
    return (JSON.parse(readFileSync(mark, 'utf8')) as { readonly pid: number }).pid;
  };
  /** Of the sessions that were opened in this story: those of the one before may still be ending. */
  const fresh = () => {
    const events = stage.tail.events.slice(seen);
    const opened = events.filter(({ kind }) => kind === 'session.opened').map(({ session }) => session);
    return events.filter(({ session }) => opened.includes(session));
  };
  const decided = () =>
    fresh()
      .filter(({ kind }) => kind === 'tool_call.decided')
      .map(({ header, decision }) => `${(JSON.parse(header) as { toolUse: string }).toolUse} ${decision}`);
  const tampering = () => fresh().filter(({ kind }) => kind.startsWith('tamper.'));
  const sessionsEnded = (count: number) =>
    expect
      .poll(() => fresh().filter(({ kind }) => kind === 'session.ended').length, { timeout: 30_000 })
      .toBe(count);

  it('is decided and recorded, in a session of its own', async () => {
    await kontext(['setup', '--mode', 'enforce']);

    const run = await runPlain([
      bash('toolu_touch', 'touch made.txt'),
      bash('toolu_env', 'cat .env'),
      { text: 'done' },
    ]);
    await sessionsEnded(1);
    await expect.poll(() => decided().length, { timeout: 20_000 }).toBe(2);

    expect(run.stdout.trim()).toBe('done');
    expect(run.textOf('toolu_touch')).not.toContain('kontext');
    expect(made('made.txt')).toBe(true);
    expect(run.textOf('toolu_env')).toContain('kontext: denied by rule');
    expect(decided()).toEqual(['toolu_touch allow', 'toolu_env deny']);
    const told = fresh().map(({ session, kind, payload }) => `${session} ${kind} ${payload?.slice(0, 150)}`);
    expect(new Set(fresh().map(({ session }) => session)).size, told.join('\n')).toBe(1);
    expect(tampering()).toEqual([]);
  });

  it('when the daemon is killed: enforce denies, and the next run brings another', async () => {
    await kontext(['setup', '--mode', 'enforce']);
    let killed = 0;
    const kill = async (): Promise<void> => {
      killed = daemonPid();
      process.kill(killed, 'SIGKILL');
    };

    const first = await runPlain([
      bash('toolu_before', 'touch before.txt'),
      { ...bash('toolu_after', 'touch after.txt'), before: kill },
      { text: 'I could not do it' },
    ]);
    const second = await runPlain([bash('toolu_next', 'touch next.txt'), { text: 'done' }]);

    expect(['before.txt', 'after.txt', 'next.txt'].map(made)).toEqual([true, false, true]);
    expect(first.textOf('toolu_after')).toContain('kontext doctor --hook');
    expect(first.stdout.trim()).toBe('I could not do it');
    expect(second.stdout.trim()).toBe('done');
    expect(daemonPid()).not.toBe(killed);
    // What the killed one had recorded is sent by the next one.
    await expect
      .poll(decided, { timeout: 30_000 })
      .toEqual(expect.arrayContaining(['toolu_before allow', 'toolu_next allow']));
  });

  it('after an upgrade never hears the stale daemon, not even in the middle of a run', async () => {
    const installed = join(stage.world.home.root, 'installed');
    const entry = realpathSync(stage.world.programs.kontext.at(-1) ?? '');
    const install = (version: string): void => {
      const next = join(stage.world.home.root, `installed-${version}`);
      cpSync(dirname(entry), next, { recursive: true });
      const main = join(next, 'main.js');
      writeFileSync(main, readFileSync(main, 'utf8').replaceAll('"0.1.0"', `"${version}"`));
      if (existsSync(installed)) renameSync(installed, join(stage.world.home.root, 'put-away'));
      renameSync(next, installed);
    };
    // What the command does not carry itself it finds beside it, as in an install.
    symlinkSync(join(folder, 'node_modules'), join(stage.world.home.root, 'node_modules'));
    install('0.1.1');
    const program = [process.execPath, join(installed, 'main.js')];
    await kontext(['setup', '--mode', 'enforce'], program);
    let stale = 0;
    const upgrade = (): void => {
      stale = daemonPid();
      install('0.2.0');
    };

    const run = await runPlain([
      bash('toolu_old', 'touch old.txt'),
      { ...bash('toolu_new', 'touch new.txt'), before: upgrade },
      { text: 'done' },
    ]);

    expect(run.stdout.trim()).toBe('done');
    expect(['old.txt', 'new.txt'].map(made)).toEqual([true, true]);
    expect(daemonPid()).not.toBe(stale);
    const doctor = await kontext(['doctor', '--hook'], program);
    expect(doctor).toMatch(/daemon +version 0\.2\.0, /);
    // Of one run two sessions: what the old one had decided, and what the new one did.
    await sessionsEnded(2);
    expect(decided()).toEqual(['toolu_old allow', 'toolu_new allow']);
  });

  it('started by `kontext start` is decided once', async () => {
    await kontext(['setup', '--mode', 'enforce']);

    const run = await stage.start({
      project,
      args: bypass,
      model: [bash('toolu_one', 'touch one.txt'), bash('toolu_two', 'cat .env'), { text: 'done' }],
    });
    const events = await stage.eventsOf(run);

    expect(run.stdout).toContain('done');
    expect(made('one.txt')).toBe(true);
    expect(decided()).toEqual(['toolu_one allow', 'toolu_two deny']);
    expect(fresh().filter(({ kind }) => kind === 'session.opened')).toHaveLength(1);
    expect(events.filter(({ kind }) => kind === 'tool_call.decided')).toHaveLength(2);
    expect(tampering()).toEqual([]);
  });

  it('without a login is silent in observe and denied in enforce, with the next step', async () => {
    const secrets = join(stage.world.home.env.XDG_CONFIG_HOME ?? '', 'kontext', 'secrets');
    renameSync(secrets, `${secrets}.away`);
    try {
      await kontext(['setup', '--mode', 'observe']);
      const observed = await runPlain([bash('toolu_seen', 'touch seen.txt'), { text: 'done' }]);
      await kontext(['setup', '--mode', 'enforce']);
      const enforced = await runPlain([bash('toolu_held', 'touch held.txt'), { text: 'held' }]);

      expect([observed.stdout.trim(), enforced.stdout.trim()]).toEqual(['done', 'held']);
      expect(['seen.txt', 'held.txt'].map(made)).toEqual([true, false]);
      expect(enforced.textOf('toolu_held')).toContain('run `kontext login`');
      expect(decided()).toEqual([]);
    } finally {
      renameSync(`${secrets}.away`, secrets);
    }
  });

  it('leaves nothing behind after uninstall: no hook, no daemon, no leftover', async () => {
    const settings = join(project.configDir, 'settings.json');
    writeFileSync(settings, '{"model":"claude-test"}');
    await kontext(['setup']);
    await runPlain([{ text: 'done' }]);
    const pid = daemonPid();
    const directory = readlinkSync(join(runtimeDir(), 'd'));

    await kontext(['uninstall']);

    expect(readFileSync(settings, 'utf8')).toBe('{"model":"claude-test"}');
    await expect.poll(() => isAlive(pid)).toBe(false);
    expect(readdirSync(runtimeDir()).filter((name) => ['d', directory].includes(name))).toEqual([]);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
