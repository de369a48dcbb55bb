import { openTestRun } from './postgres/shared-server.ts';

/** Vitest's global set-up: one folder per run through which the workers share a Postgres; returns its tear-down. */
export function setup(): () => Promise<void> {
  return openTestRun();
}
