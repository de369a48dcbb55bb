/**
 * Trust on first use of an env template (design §4.1).
 *
 * A template comes with a cloned repository and says which credentials the agent gets, so its first use needs a
 * person's word. Trust is keyed by the repository's common git directory (else by the file's path) and by the set of
 * placeholders and refused names: a second worktree or a changed comment does not ask again, a new placeholder does.
 *
 * A cloned repository can hold links and a project file, and an unpacked archive any `.git`. None of them can borrow
 * the trust of another repository: it is the folder where the template was looked for that counts, and the folder
 * whose project file sent us there counts, too.
 */
import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type EnvTemplate, listPlaceholders, templateFingerprint } from '@kontext/env-template';
import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';
import { readStateFile, writeStateFile } from '../state-file.ts';
import type { Terminal } from '../terminal.ts';

/** Stored format. */
interface TrustFile {
  readonly v: 1;
  /** Trust key → when it was given (RFC 3339) and for which place, for people who look. */
  readonly trusted: Readonly<Record<string, { readonly at: string; readonly place: string }>>;
}

/** Trust given so far, in `trust.json` of the state directory. */
export interface TrustStore {
  isTrusted(path: string, template: EnvTemplate): boolean;
  trust(path: string, template: EnvTemplate): void;
}

/** Opens the trust store; an unreadable one counts as empty, so trust is asked for again. */
export function openTrustStore(config: Pick<Config, 'stateDir' | 'envFile' | 'envFileProject'>): TrustStore {
  const file = join(config.stateDir, 'trust.json');
  const placeOf = (path: string): string =>
    trustPlace(path, path === config.envFile ? config.envFileProject : null);
  return {
    isTrusted: (path, template) => Object.hasOwn(readTrust(file).trusted, trustKey(placeOf(path), template)),
    trust: (path, template) => {
      const place = placeOf(path);
      const entry = { at: new Date().toISOString(), place };
      writeTrust(file, { v: 1, trusted: { ...readTrust(file).trusted, [trustKey(place, template)]: entry } });
    },
  };
}

/** What {@link requireTrust} looks at. */
export interface TrustRequest {
  readonly config: Pick<Config, 'stateDir' | 'sessionId' | 'envFile' | 'envFileProject'>;
  readonly terminal: Terminal;
  readonly path: string;
  readonly template: EnvTemplate;
  /** `--trust` was given. */
  readonly accept: boolean;
  readonly signal?: AbortSignal;
}

/**
 * Goes on only when the template is trusted: remembered, accepted by flag, or by a person in a terminal.
 *
 * A template without placeholders asks for nothing and needs no trust, unless it holds refused names.
 *
 * @throws KontextError `KX_TEMPLATE_UNTRUSTED` (77) when there is no terminal, or the answer is no.
 */
export async function requireTrust(request: TrustRequest): Promise<void> {
  const { config, terminal, path, template } = request;
  const store = openTrustStore(config);
  if (!needsTrust(template) || store.isTrusted(path, template)) return;
  // Inside a session the one who passes --trust is the agent.
  const accepted = (request.accept && config.sessionId === null) || (await askTrust(request));
  if (!accepted) throw new KontextError('KX_TEMPLATE_UNTRUSTED', `${path} is not trusted`);
  store.trust(path, template);
  terminal.note(`trusted ${path}`);
}

const needsTrust = (template: EnvTemplate): boolean =>
  listPlaceholders(template.entries).length > 0 ||
  template.problems.some(({ code }) => code === 'KX_TEMPLATE_REFUSED_NAME');

/** One line per variable that would get a credential, for a person to judge. */
export const describeTemplate = (template: EnvTemplate): string[] =>
  template.entries.flatMap(({ name, parts }) =>
    parts
      .filter((part) => typeof part !== 'string')
      .map(({ provider, resource, scopes }) => {
        const target = resource === '' ? provider : `${provider}/${resource}`;
        return `  ${name} gets a credential for ${target}${scopes.length > 0 ? `, scopes ${scopes.join(' ')}` : ''}`;
      }),
  );

async function askTrust({ terminal, path, template, signal }: TrustRequest): Promise<boolean> {
  if (!terminal.interactive) return false;
  terminal.say(`${path} is used for the first time; the agent would be given:`);
  for (const line of describeTemplate(template)) terminal.say(line);
  for (const { line, message } of template.problems) terminal.say(`  line ${line}: ${message}`);
  const answer = await terminal.ask('trust it? [y/N]', signal);
  return /^y(es)?$/i.test(answer);
}

const trustKey = (place: string, template: EnvTemplate): string =>
  createHash('sha256')
    .update(JSON.stringify([place, templateFingerprint(template)]))
    .digest('hex');

/**
 * What trust is given to: the repository of the template, or its path outside of one; and the repository of the
 * project file that chose it, where that is another one.
 */
function trustPlace(path: string, project: string | null): string {
  const directory = realpathSync(dirname(path));
  const place = repositoryOf(directory) ?? join(directory, basename(path));
  if (project === null) return place;
  const chooser = repositoryOf(realpathSync(project)) ?? realpathSync(project);
  return chooser === place ? place : `${place} chosen by ${chooser}`;
}

/** The common git directory of the repository a directory lies in; null outside of one. No symlinks in either. */
function repositoryOf(start: string): string | null {
  for (let directory = start; ; directory = dirname(directory)) {
    const dotGit = join(directory, '.git');
    // Not followed: a link could point to any repository.
    const stat = lstatSync(dotGit, { throwIfNoEntry: false });
    if (stat?.isDirectory()) return dotGit;
    if (stat?.isFile()) return commonDirectory(dotGit);
    if (stat !== undefined || dirname(directory) === directory) return null;
  }
}

/**
 * The common directory behind the `.git` file of a linked worktree (gitrepository-layout).
 *
 * @returns Null unless the repository names this worktree as its own, in a folder of its own: anybody can write a
 *   `.git` file, and a worktree folder, that point to a repository the user trusts.
 */
function commonDirectory(dotGit: string): string | null {
  const pointer = /^gitdir: (.+?)\s*$/m.exec(readText(dotGit))?.[1];
  const gitDirectory = pointer === undefined ? null : realPath(resolve(dirname(dotGit), pointer));
  if (gitDirectory === null) return null;
  const back = readText(join(gitDirectory, 'gitdir')).trim();
  if (back === '' || realPath(resolve(gitDirectory, back)) !== realPath(dotGit)) return null;
  const common = realPath(resolve(gitDirectory, readText(join(gitDirectory, 'commondir')).trim() || '.'));
  return common !== null && dirname(gitDirectory) === join(common, 'worktrees') ? common : null;
}

function realPath(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Missing or unreadable: nothing is trusted. */
function readTrust(file: string): TrustFile {
  const value = (readStateFile(file) ?? {}) as Partial<TrustFile>;
  const isKnown = value.v === 1 && typeof value.trusted === 'object' && value.trusted !== null;
  return isKnown ? (value as TrustFile) : { v: 1, trusted: {} };
}

const writeTrust = (file: string, content: TrustFile): void =>
  writeStateFile(file, JSON.stringify(content, null, 2));
