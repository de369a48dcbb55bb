import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { KontextError } from '@kontext/errors';
import type { PolicySource } from '@kontext/protocol';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { isSourceName } from './read-sources.ts';
import { defaultDirectory } from './validate.ts';
import { parseVersion } from './wire.ts';

/** What to fetch, and whether files may be replaced. */
export interface PullOptions {
  /** Left out: what holds for everybody. */
  readonly version?: string;
  readonly force?: boolean;
}

/**
 * `kontext policy pull`: writes the files of a version into a directory.
 *
 * Files that differ are left as they are, all of them, unless `force`. Files that the version does not have stay.
 *
 * @throws KontextError `KX_POLICY_FILES_CHANGED`; `KX_POLICY_UNREADABLE` for a name that is no file name of a policy.
 */
export async function pull(
  { config, terminal, signal }: Context,
  clients: Clients,
  directory = defaultDirectory,
  { version: asked, force = false }: PullOptions = {},
): Promise<number> {
  const wanted = asked === undefined ? 0n : parseVersion(asked);
  const { version, sources } = await clients.policies.getPolicyVersion({ version: wanted }, { signal });
  const files = sources?.files ?? [];
  checkNames(files);
  const target = resolve(config.cwd, directory);
  const changed = files.filter(({ name, text }) => ![null, text].includes(readIfPresent(join(target, name))));
  if (changed.length > 0 && !force) {
    throw new KontextError('KX_POLICY_FILES_CHANGED', `${directory} holds other files than the version`, {
      why: changed.map(({ name }) => name).join(', '),
    });
  }
  mkdirSync(target, { recursive: true });
  for (const file of files) writeFile(target, file);
  terminal.note(`version ${version?.version ?? wanted} is in ${directory}: ${files.length} files`);
  const others = listOthers(target, files);
  if (others.length > 0) terminal.note(`not of that version: ${others.join(', ')}`);
  return 0;
}

/** A backend does not choose where on this machine something is written. */
function checkNames(files: readonly PolicySource[]): void {
  const names = files.map(({ name }) => name);
  const bad = names.find((name, at) => !isSourceName(name) || names.indexOf(name) !== at);
  if (bad === undefined) return;
  throw new KontextError('KX_POLICY_UNREADABLE', 'the version cannot be written', {
    why: `${JSON.stringify(bad.slice(0, 140))} is no file name of a policy, or is there twice`,
    hint: 'tell whoever runs the backend',
  });
}

/** Null when there is none; something that is no file differs from every text. */
function readIfPresent(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ENOENT' ? null : '\0';
  }
}

/** A link of that name is replaced, not followed; so is one that was put where the new text is written first. */
function writeFile(directory: string, { name, text }: PolicySource): void {
  const temporary = join(directory, `.${name}.${process.pid}.tmp`);
  rmSync(temporary, { force: true });
  writeFileSync(temporary, text, { flag: 'wx' });
  renameSync(temporary, join(directory, name));
}

const listOthers = (directory: string, files: readonly PolicySource[]): string[] =>
  readdirSync(directory)
    .filter((name) => name.endsWith('.cedar') && files.every((file) => file.name !== name))
    .sort();
