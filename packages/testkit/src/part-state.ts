import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { findClaude } from './agents/find-claude.ts';
import { findOnPath } from './find-on-path.ts';
import { findPgbouncer } from './postgres/pgbouncer.ts';
import { findPostgresBinaries } from './postgres/postgres-binaries.ts';

/** The real parts that suites drive and that `scripts/test-parts.mjs` installs where it can. */
export type PartName = 'postgres' | 'pgbouncer' | 'keyring' | 'claude' | 'chromium';

/** Whether a part is on this machine; `reason` is empty when it is. */
export interface PartState {
  readonly available: boolean;
  readonly reason: string;
}

const isThere: Readonly<Record<PartName, () => boolean>> = {
  postgres: () => findPostgresBinaries() !== null,
  pgbouncer: () => findPgbouncer() !== null,
  keyring: () => findOnPath('gnome-keyring-daemon') !== null && findOnPath('dbus-daemon') !== null,
  claude: () => findClaude() !== null,
  chromium: () => findOnPath('chromium') !== null,
};

/**
 * Tells a suite whether it can run, and if not, why: `describe.skipIf(!part.available)(`… ${part.reason}`, …)`.
 *
 * The machine itself is asked; the reason is the one the last installation left, else that the part is not installed.
 */
export function partState(name: PartName): PartState {
  if (isThere[name]()) return { available: true, reason: '' };
  const reason = readReasons()[name] ?? 'not installed, run `npm test` or `node scripts/test-parts.mjs`';
  return { available: false, reason: `skipped: ${name}: ${reason}` };
}

function readReasons(): Readonly<Record<string, string>> {
  const path = fileURLToPath(
    new URL('../../../node_modules/.cache/kontext/test-parts.json', import.meta.url),
  );
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>) : {};
}
