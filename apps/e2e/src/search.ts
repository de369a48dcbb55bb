/** Looks for planted values in files, processes and bytes, in every form a value may take on its way. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A place where a value was found; the value itself is named by its position in the list. */
export interface Finding {
  readonly place: string;
  readonly value: number;
  readonly form: string;
}

/**
 * The forms of a value that are looked for: as it is, in JSON, in a URL, in base64 at each of its three alignments
 * (both alphabets), in hex.
 */
export function formsOf(value: string): ReadonlyMap<string, string> {
  const bytes = Buffer.from(value);
  const forms = new Map([
    ['raw', value],
    ['json', JSON.stringify(value).slice(1, -1)],
    ['url', encodeURIComponent(value)],
    ['hex', bytes.toString('hex')],
    ['HEX', bytes.toString('hex').toUpperCase()],
  ]);
  for (const shift of [0, 1, 2]) {
    // Characters that also hold bits of a neighbour are cut off on both sides.
    const shifted = Buffer.concat([Buffer.alloc(shift), bytes]);
    const whole = shifted.toString('base64').replace(/=+$/, '');
    const inner = whole.slice(Math.ceil((shift * 8) / 6), Math.floor((shifted.length * 8) / 6));
    forms.set(`base64 +${shift}`, inner);
    forms.set(`base64url +${shift}`, inner.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return forms;
}

/** Looks through bytes. */
export function findInBytes(place: string, bytes: Uint8Array | string, values: readonly string[]): Finding[] {
  const haystack = Buffer.from(bytes);
  return values.flatMap((value, index) =>
    [...formsOf(value)]
      .filter(([, form]) => haystack.includes(form))
      .map(([form]) => ({ place, value: index, form })),
  );
}

/** Looks through every file below the folders, their names too. */
export function findInFiles(folders: readonly string[], values: readonly string[]): Finding[] {
  return folders
    .flatMap(listFiles)
    .flatMap((path) => [
      ...findInBytes(`name of ${path}`, path, values),
      ...findInBytes(path, orGone(() => readFileSync(path)) ?? '', values),
    ]);
}

function listFiles(folder: string): string[] {
  const entries = orGone(() => readdirSync(folder, { withFileTypes: true })) ?? [];
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return listFiles(path);
    return entry.isFile() ? [path] : [];
  });
}

/** What programs that still run have removed meanwhile is null. */
function orGone<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/**
 * Looks through arguments and environment of every process that may be read.
 *
 * @param except Processes that may hold the values, with all that they started: the agent.
 */
export function findInProcesses(values: readonly string[], except: readonly number[]): Finding[] {
  const parents = readParents();
  const isExcepted = (pid: number): boolean =>
    except.includes(pid) || (parents.has(pid) && isExcepted(parents.get(pid) ?? 0));
  const pids = [...parents.keys()].filter((pid) => !isExcepted(pid));
  return pids.flatMap((pid) =>
    ['cmdline', 'environ'].flatMap((file) =>
      findInBytes(`process ${pid} ${file}`, readProcess(pid, file), values),
    ),
  );
}

/** Process id → id of its parent. */
function readParents(): ReadonlyMap<number, number> {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const entries = pids.map((pid) => {
    const parent = /^PPid:\s*(\d+)/m.exec(readProcess(Number(pid), 'status').toString())?.[1];
    return [Number(pid), Number(parent ?? 0)] as const;
  });
  return new Map(entries);
}

/** Empty for a process that has ended meanwhile, or belongs to somebody else. */
function readProcess(pid: number, file: string): Buffer {
  try {
    return readFileSync(`/proc/${pid}/${file}`);
  } catch {
    return Buffer.alloc(0);
  }
}
