/**
 * Trust on first use of an env template (design §4.1).
 *
 * A template comes with a cloned repository and says which credentials the agent gets, so its first use needs a
 * person's word. Trust is keyed by the repository's common git directory (else by the file's path) and by the set of
 * placeholders and refused names: a second worktree or a changed comment does not ask again, a new placeholder does.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type EnvTemplate, listPlaceholders, templateFingerprint } from '@kontext/env-template';
import { KontextError } from '@kontext/errors';
import type { Config } from '../config.ts';
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
export function openTrustStore(stateDir: string): TrustStore {
  const file = join(stateDir, 'trust.json');
  return {
    isTrusted: (path, template) =>
      Object.hasOwn(readTrust(file).trusted, trustKey(trustPlace(path), template)),
    trust: (path, template) => {
      const place = trustPlace(path);
      const entry = { at: new Date().toISOString(), place };
      writeTrust(file, { v: 1, trusted: { ...readTrust(file).trusted, [trustKey(place, template)]: entry } });
    },
  };
}

/** What {@link requireTrust} looks at. */
export interface TrustRequest {
  readonly config: Pick<Config, 'stateDir' | 'sessionId'>;
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
  const store = openTrustStore(config.stateDir);
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

/** The common git directory of the repository that holds the file, else the file itself; both without symlinks. */
function trustPlace(path: string): string {
  const file = realpathSync(path);
  for (let directory = dirname(file); ; directory = dirname(directory)) {
    const dotGit = join(directory, '.git');
    const stat = statSync(dotGit, { throwIfNoEntry: false });
    if (stat?.isDirectory()) return realpathSync(dotGit);
    if (stat?.isFile()) return commonDirectory(dotGit) ?? file;
    if (dirname(directory) === directory) return file;
  }
}

/**
 * The common directory behind the `.git` file of a linked worktree (gitrepository-layout).
 *
 * @returns Null unless the repository names this worktree as its own: anybody can write a `.git` file that points to a
 *   repository the user trusts.
 */
function commonDirectory(dotGit: string): string | null {
  const pointer = /^gitdir: (.+?)\s*$/m.exec(readText(dotGit))?.[1];
  if (pointer === undefined) return null;
  const gitDirectory = resolve(dirname(dotGit), pointer);
  const back = readText(join(gitDirectory, 'gitdir')).trim();
  if (back === '' || realPath(resolve(gitDirectory, back)) !== realPath(dotGit)) return null;
  return realPath(resolve(gitDirectory, readText(join(gitDirectory, 'commondir')).trim() || '.'));
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

function readTrust(file: string): TrustFile {
  try {
    const value = JSON.parse(readFileSync(file, 'utf8')) as Partial<TrustFile>;
    if (value.v === 1 && typeof value.trusted === 'object' && value.trusted !== null)
      return value as TrustFile;
  } catch {
    // Missing or unreadable: nothing is trusted.
  }
  return { v: 1, trusted: {} };
}

function writeTrust(file: string, content: TrustFile): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}.tmp`;
  writeFileSync(temporary, JSON.stringify(content, null, 2), { mode: 0o600 });
  renameSync(temporary, file);
}
