#!/usr/bin/env node
import { formatError, KontextError } from '@kontext/errors';
import { CommanderError } from 'commander';
import { createProgram } from './commands/program.ts';
import { loadConfig } from './config.ts';
import { hardenProcess } from './kms/harden-process.ts';
import { createLogger, describeError } from './log.ts';

/** Longest a stop may take before the process ends anyway. */
const stopDeadlineMs = 10_000;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

async function serveUntilStopped(): Promise<void> {
  const config = loadConfig();
  hardenProcess(config);
  const logger = createLogger(config.logLevel);
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve(signal));
  });
  // Loaded here: the other commands need no authorization server.
  const { serve } = await import('./commands/serve.ts');
  const backend = await serve(config, logger, print);
  const signal = await stopped;
  logger.info({ signal }, 'stopping');
  // A second signal, or a request that never ends, must not keep the process.
  for (const again of ['SIGTERM', 'SIGINT'] as const) process.on(again, () => process.exit(1));
  setTimeout(() => process.exit(1), stopDeadlineMs).unref();
  await backend.close();
}

async function main(): Promise<number> {
  try {
    await createProgram({ print, serve: serveUntilStopped }).parseAsync();
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 64;
    process.stderr.write(`${formatError(error)}\n`);
    if (error instanceof KontextError) return error.spec.exitCode;
    process.stderr.write(`${JSON.stringify(describeError(error))}\n`);
    return 1;
  }
}

process.exitCode = await main();
