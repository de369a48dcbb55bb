import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { partState } from '../part-state.ts';
import { type ScratchHome, scratchHome } from '../scratch-home.ts';
import { claudeVersion } from './find-claude.ts';
import { type ModelServer, startModelServer, toolResults } from './model-server.ts';
import { runClaude } from './run-claude.ts';

const claude = partState('claude');

describe.skipIf(!claude.available)(`the real Claude Code against the scripted model ${claude.reason}`, () => {
  let home: ScratchHome;
  let model: ModelServer;
  beforeEach(() => {
    home = scratchHome();
  });
  afterEach(async () => {
    await model?.stop();
    home.remove();
  });

  const run = (...args: string[]) => runClaude({ home, modelUrl: model.url, args });

  it('is the pinned version', async () => {
    model = await startModelServer([]);

    const result = await run('--version');

    expect(result.stdout).toContain(claudeVersion);
  });

  it('runs the scripted Bash call and sends its output back to the model', async () => {
    const command = 'echo hello from the tool | tee made.txt';
    model = await startModelServer([
      { toolUses: [{ id: 'toolu_one', name: 'Bash', input: { command, description: 'make a file' } }] },
      { text: 'finished' },
    ]);

    const result = await run('-p', 'make the file', '--permission-mode', 'bypassPermissions');

    expect({ exitCode: result.exitCode, stdout: result.stdout.trim() }).toEqual({
      exitCode: 0,
      stdout: 'finished',
    });
    expect(readFileSync(join(home.workDir, 'made.txt'), 'utf8')).toBe('hello from the tool\n');
    expect(toolResults(model.turns[1]!).get('toolu_one')?.text).toContain('hello from the tool');
  });

  it('does not run a call that a PreToolUse hook in exec form answers with exit 2', async () => {
    const settings = join(home.root, 'settings.json');
    const hook = {
      type: 'command',
      command: '/bin/sh',
      args: ['-c', 'echo not today >&2; exit 2'],
      timeout: 10,
    };
    writeFileSync(settings, JSON.stringify({ hooks: { PreToolUse: [{ matcher: '*', hooks: [hook] }] } }));
    model = await startModelServer([
      {
        toolUses: [
          { id: 'toolu_one', name: 'Bash', input: { command: 'touch made.txt', description: 'make' } },
        ],
      },
    ]);

    await run('-p', 'go', '--permission-mode', 'bypassPermissions', '--settings', settings);

    expect(existsSync(join(home.workDir, 'made.txt'))).toBe(false);
    expect(toolResults(model.turns[1]!).get('toolu_one')?.text).toContain('not today');
  });

  it('waits for the script before the model answers', async () => {
    let fileAtSecondTurn = false;
    model = await startModelServer([
      { toolUses: [{ name: 'Write', input: { file_path: join(home.workDir, 'a.txt'), content: 'a' } }] },
      {
        text: 'done',
        before: () => {
          fileAtSecondTurn = existsSync(join(home.workDir, 'a.txt'));
        },
      },
    ]);

    await run('-p', 'go', '--permission-mode', 'bypassPermissions');

    expect(fileAtSecondTurn).toBe(true);
  });
});
