import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** Reads a file a person named on the command line, relative to where they stand. @throws Error of the file system. */
export const readUserFile = (path: string, cwd: string): string => readFileSync(resolve(cwd, path), 'utf8');
