import { realpathSync } from 'node:fs';

/** Where the `kontext` that runs now lies, for others to call: absolute, links followed. */
export const programPath = (): string => realpathSync(process.argv[1] ?? '');
