import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { partState, toolResults } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CopiedPrograms, copyPrograms } from '../copied-programs.ts';
import { bash, type ClaudeStage, type FinishedAgent, type RunningAgent, setClaudeStage } from './stage.ts';

const claude = partState('claude');
const bypass = ['-p', 'go', '--permission-mode', 'bypassPermissions'];
type Mode = 'observe' | 'enforce';

/** What a tool call meets, and what is seen of it. */
interface Row {
  readonly name: string;
  /** Happens when the session runs, before the agent is told to make the call. */
  readonly breakIt: () => Promise<void> | void;
  /** What the agent reads in enforce. */
  readonly says: RegExp;
  /** Whether the hook client could note that it failed. */
  readonly leavesTrace: boolean;
}

describe.skipIf(!claude.available)(`the failure table with the real Claude Code ${claude.reason}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kx-table-'));
  const listeners: Server[] = [];
  let programs: CopiedPrograms;
  let stage: ClaudeStage;
  let running: RunningAgent;
  const hasNative = (): boolean => existsSync(programs.nativeClient);

  beforeAll(async () => {
    programs = copyPrograms(folder);
    stage = await setClaudeStage({ programs, recorded: true });
  });
  afterEach(() => {
    for (const listener of listeners.splice(0)) listener.close();
  });
  afterAll(async () => {
    await stage?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const runtimeFiles = (suffix: string): readonly string[] => {
    const root = stage.world.home.env.XDG_RUNTIME_DIR ?? '';
    return readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith(suffix))
      .map((path) => join(root, path))
      .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  };
  /** The socket of the session that runs: the one whose settings are the newest. */
  const socketPath = (): string => {
    const [settings = ''] = runtimeFiles('settings.json');
    const [socket = ''] = readdirSync(dirname(settings)).filter((name) => /^[^.]+$|\.sock$/.test(name));
    return join(dirname(settings), socket);
  };
  const replaceClient = (script: string): void => {
    const client = hasNative() ? programs.nativeClient : programs.twinClient;
    rmSync(client);
    writeFileSync(client, script);
    chmodSync(client, 0o755);
  };
  /** Takes the socket's place and answers whoever comes. */
  const impersonate = async (answer: (peer: Socket) => void): Promise<void> => {
    const path = socketPath();
    rmSync(path);
    const server = createServer((peer) => {
      peer.on('error', () => undefined);
      peer.once('data', () => answer(peer));
    });
    listeners.push(server);
    await new Promise<void>((resolve) => server.listen(path, resolve));
  };
  const allowFrame = Buffer.from([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

  const rows: readonly Row[] = [
    {
      name: 'the hook client is gone',
      breakIt: () => rmSync(hasNative() ? programs.nativeClient : programs.twinClient),
      says: /./,
      leavesTrace: false,
    },
    {
      name: 'the hook client is killed',
      breakIt: () => replaceClient(hasNative() ? '#!/bin/sh\nkill -9 $$\n' : 'process.kill(process.pid, 9)'),
      says: /./,
      leavesTrace: false,
    },
    {
      name: 'the hook client hangs',
      breakIt: () =>
        replaceClient(
          hasNative()
            ? '#!/bin/sh\n[ "$2" = PreToolUse ] && exec sleep 30\nexit 0\n'
            : "if (process.argv.includes('PreToolUse')) setTimeout(() => 0, 30_000)",
        ),
      says: /./,
      leavesTrace: false,
    },
    {
      name: 'the socket is gone',
      breakIt: () => rmSync(socketPath()),
      says: /kontext: this call is blocked/,
      leavesTrace: true,
    },
    {
      name: 'the hook server hangs',
      breakIt: () => {
        process.kill(running.child.pid ?? 0, 'SIGSTOP');
      },
      says: /kontext: this call is blocked/,
      leavesTrace: true,
    },
    {
      name: 'the hook server is killed while it has the call',
      breakIt: () => {
        const pid = running.child.pid ?? 0;
        process.kill(pid, 'SIGSTOP');
        setTimeout(() => process.kill(pid, 'SIGKILL'), 700);
      },
      says: /kontext: this call is blocked/,
      leavesTrace: true,
    },
    {
      name: 'an impostor allows everything from the same path',
      breakIt: () => impersonate((peer) => peer.end(hasNative() ? allowFrame : 'allow')),
      says: /kontext: this call is blocked/,
      leavesTrace: true,
    },
    {
      name: 'the answer is garbage',
      breakIt: () => impersonate((peer) => peer.end('{"permissionDecision":"allow"}')),
      says: /kontext: this call is blocked/,
      leavesTrace: true,
    },
    {
      name: 'the answer ends in the middle',
      breakIt: () => impersonate((peer) => peer.end(allowFrame.subarray(0, 5))),
      says: /kontext: this call is blocked/,
      leavesTrace: true,
    },
  ];

  /** One call in a session that breaks before it; the session goes on afterwards where it still can. */
  const runRow = async (row: Row, mode: Mode): Promise<FinishedAgent & { readonly made: boolean }> => {
    programs.restore();
    for (const file of runtimeFiles('.missed')) rmSync(file);
    const project = stage.makeProject();
    const goOn = (): void => {
      try {
        process.kill(running.child.pid ?? 0, 'SIGCONT');
      } catch {
        // It was killed.
      }
    };
    running = await stage.launch({
      ...{ project, mode, args: bypass },
      env: { KONTEXT_HOOK_TIMEOUT_MS: '1000' },
      model: [
        { ...bash('toolu_call', 'touch made.txt'), before: async () => row.breakIt() },
        { text: 'done', before: async () => goOn() },
      ],
    });
    running.child.stdin?.end();
    const run = await running.ended;
    return { ...run, made: existsSync(join(project.dir, 'made.txt')) };
  };

  it.each(rows)('in enforce the call is denied when $name', async (row) => {
    const run = await runRow(row, 'enforce');

    const result = toolResults(run.model.turns[1]!).get('toolu_call');
    expect(run.made).toBe(false);
    expect(result?.isError).toBe(true);
    expect(result?.text).toMatch(row.says);
    expect(run.model.turns).toHaveLength(2);
  });

  it.each(rows)('in observe the call runs when $name', async (row) => {
    const run = await runRow(row, 'observe');

    // Told at the end of the session; where that was killed, the file of missed hooks is still there.
    const missed = runtimeFiles('.missed').map((file) => readFileSync(file, 'utf8'));
    expect(run.made).toBe(true);
    expect(run.model.turns).toHaveLength(2);
    if (row.leavesTrace) {
      expect(`${run.stderr}${missed.join('')}`).toMatch(
        /hook calls? could not be recorded|claude PreToolUse /,
      );
    }
  });

  describe('where the hook server decides', () => {
    const decide = async (mode: Mode, command = 'touch made.txt') => {
      const project = stage.makeProject();
      const run = await stage.start({
        ...{ project, mode, args: bypass },
        model: [bash('toolu_call', command), { text: 'done' }],
      });
      const made = existsSync(join(project.dir, 'made.txt'));
      const events = await stage.eventsOf(run);
      const decided = events.find(({ kind }) => kind === 'tool_call.decided');
      return { ...run, made, decided, result: toolResults(run.model.turns[1]!).get('toolu_call') };
    };
    /** The rules that fail to evaluate are refused before anybody decides by them, so the engine itself is broken. */
    const withBrokenEngine = async <T>(work: () => Promise<T>): Promise<T> => {
      writeFileSync(programs.policyEngine, 'no engine');
      return work().finally(() => programs.restore());
    };

    it('a policy engine that fails denies in enforce, and the failure is recorded', async () => {
      const run = await withBrokenEngine(() => decide('enforce'));

      expect(run.made).toBe(false);
      expect(run.result?.isError).toBe(true);
      expect(run.decided).toMatchObject({ header: { decision: 'deny', mode: 'enforce', rule: null } });
      expect(run.decided?.payload.failure).toContain('policy engine');
    });

    it('a policy engine that fails is recorded as would-deny in observe', async () => {
      const run = await withBrokenEngine(() => decide('observe'));

      expect(run.made).toBe(true);
      expect(run.decided).toMatchObject({ header: { decision: 'deny', mode: 'observe', rule: null } });
      expect(run.decided?.payload.failure).toContain('policy engine');
    });

    it('a mode of the backend that nobody knows counts as enforce', async () => {
      const { recorder } = stage.world;
      recorder!.forge = {
        path: 'SessionService/OpenSession',
        answer: (body) => body.replace('"MODE_OBSERVE"', '"MODE_OF_THE_FUTURE"'),
      };
      const run = await decide('observe', 'rm -rf /').finally(() => {
        recorder!.forge = null;
      });

      expect(run.result?.isError).toBe(true);
      expect(run.decided).toMatchObject({ header: { decision: 'deny', mode: 'enforce' } });
    });

    it.each([
      ['enforce', true],
      ['observe', false],
    ] as const)('a call that is longer than can be read is opaque in %s', async (mode, denied) => {
      const run = await decide(mode, `touch made.txt # ${'x'.repeat(1_200_000)}`);

      expect(run.decided?.payload).toMatchObject({ opaque: expect.stringContaining('over 1 MiB') });
      expect(run.decided).toMatchObject({ header: { decision: 'deny', mode } });
      expect(run.result?.text.includes('kontext: denied')).toBe(denied);
    });
  });
});
