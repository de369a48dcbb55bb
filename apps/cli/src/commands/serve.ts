import { accessSync, constants } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { findExecutable } from '../session/find-executable.ts';
import { spawnChild } from '../session/spawn-agent.ts';

const program = 'kontext-backend';

/** `kontext serve [-- backend arguments]` */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('[args...]', `arguments for \`${program} serve\``)
    .action((args: readonly string[]) => run({}, (context) => serve(context, args)));
}

/**
 * Runs the backend in the foreground: output, signals and exit code pass through.
 *
 * @throws KontextError `KX_BACKEND_NOT_INSTALLED` (78) when it is neither beside this command nor on PATH.
 */
async function serve({ config, releaseSignals }: Context, args: readonly string[]): Promise<number> {
  const command = findBackend(process.argv[1] ?? '', config.environment.PATH);
  releaseSignals();
  return spawnChild({ command, args: ['serve', ...args], env: config.environment });
}

/** @param self Path of this command as it was called: npm links both programs into one directory. */
function findBackend(self: string, path: string | undefined): string {
  const beside = join(dirname(resolve(self)), program);
  if (isExecutable(beside)) return beside;
  try {
    return findExecutable(program, path);
  } catch (cause) {
    throw new KontextError('KX_BACKEND_NOT_INSTALLED', `${program} was not found`, {
      why: 'it is neither beside this command nor on PATH',
      cause,
    });
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
