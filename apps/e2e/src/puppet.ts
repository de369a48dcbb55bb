/**
 * An agent on strings: `kontext start` runs it as it would run Claude Code, it waits, and the test calls its hooks the
 * way Claude Code calls them: one process per hook, in exec form, the event on standard input.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CommandResult, runCommand } from '@kontext/testkit';
import { type RunningCommand, startCommand } from './running-command.ts';
import type { World } from './world.ts';

/** A session whose agent waits. */
export interface Puppet {
  /** `kontext start` itself. */
  readonly command: RunningCommand;
  /** The agent's process. */
  readonly pid: number;
  readonly sessionId: string;
  /** Path of the hook socket. */
  readonly socket: string;
  /** Runs the agent's hook for an event. An object gets what Claude Code sends with every event. */
  hook(event: string, input: object | Uint8Array): Promise<CommandResult>;
  /** Lets the agent exit; settles when `kontext start` has ended. */
  end(exitCode?: number): Promise<CommandResult>;
}

/** It says where it is, then waits to be told how to end. */
const agentScript = `#!/bin/sh
while [ "$#" -gt 1 ]; do [ "$1" = --settings ] && settings=$2; shift; done
printf '%s\\n%s\\n%s\\n%s\\n' "$$" "$settings" "$KONTEXT_SESSION_ID" "$KONTEXT_SOCKET" > "$PUPPET/ready.part"
mv "$PUPPET/ready.part" "$PUPPET/ready"
while [ -d "$PUPPET" ] && [ ! -e "$PUPPET/exit" ]; do sleep 0.05; done
exit "$(cat "$PUPPET/exit")"
`;

/** A search path on which `claude` is a given script, or a file that is not executable. */
export function pathWithAgent(world: World, script: string, mode = 0o755): string {
  const bin = mkdtempSync(join(world.home.root, 'bin-'));
  writeFileSync(join(bin, 'claude'), script);
  chmodSync(join(bin, 'claude'), mode);
  return `${bin}:${world.env.PATH ?? ''}`;
}

/** Starts a session and waits until its agent runs. @throws Error with the output when it does not come so far. */
export async function startPuppet(world: World, args: readonly string[] = []): Promise<Puppet> {
  const strings = mkdtempSync(join(world.home.root, 'puppet-'));
  const env = { PATH: pathWithAgent(world, agentScript), PUPPET: strings };
  const command = startCommand(world, ['start', '--agent', 'claude', '--trust', ...args], { env });
  const ended = command.ended.then(({ exitCode }) => exitCode);
  while (!existsSync(join(strings, 'ready'))) {
    const over = await Promise.race([ended, sleep(50, 'running' as const)]);
    if (over !== 'running') throw new Error(`the session ended with ${over}: ${command.output()}`);
  }
  const [pid, settingsFile = '', sessionId = '', socket = ''] = readFileSync(
    join(strings, 'ready'),
    'utf8',
  ).split('\n');
  const settings = JSON.parse(readFileSync(settingsFile, 'utf8')) as HookSettings;
  return {
    command,
    pid: Number(pid),
    sessionId,
    socket,
    hook: (event, input) => {
      const entry = settings.hooks[event]?.[0]?.hooks[0];
      if (entry === undefined) throw new Error(`the settings hold no hook for ${event}`);
      const stdin =
        input instanceof Uint8Array ? input : JSON.stringify({ ...common(world, event), ...input });
      return runCommand(entry.command, entry.args, {
        stdin,
        cwd: world.home.workDir,
        env: { PATH: world.env.PATH },
      });
    },
    end: (exitCode = 0) => {
      writeFileSync(join(strings, 'exit'), String(exitCode));
      return command.ended;
    },
  };
}

interface HookSettings {
  readonly hooks: Readonly<
    Record<string, readonly { readonly hooks: readonly { command: string; args: string[] }[] }[]>
  >;
}

const common = (world: World, event: string) => ({
  session_id: '7f0e1e36-0000-4000-8000-000000000000',
  transcript_path: '',
  cwd: world.home.workDir,
  permission_mode: 'default',
  hook_event_name: event,
});

/** A call of the shell tool, as PreToolUse and its successors describe it. */
export const bashCall = (command: string, id: string) => ({
  tool_name: 'Bash',
  tool_input: { command, description: 'a test' },
  tool_use_id: `toolu_${id}`,
});

/** Writes the env template of the working folder. */
export function writeTemplate(world: World, content: string | Uint8Array): string {
  mkdirSync(world.home.workDir, { recursive: true });
  const path = join(world.home.workDir, '.env.kontext');
  writeFileSync(path, content);
  return path;
}
