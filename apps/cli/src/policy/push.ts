import { createPolicyEngine } from '@kontext/policy';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { readSources } from './read-sources.ts';
import { check, findingLine } from './validate.ts';
import { parseReason } from './wire.ts';

/** What a draft is stored with. */
export interface PushOptions {
  readonly reason: string;
  readonly json?: boolean;
}

/**
 * `kontext policy push`: stores files as a new version that nobody decides with yet. They are checked here first.
 *
 * Prints the number of the version.
 *
 * @returns 0, or 65 when a finding is an error; nothing is stored then.
 */
export async function push(
  { config, terminal, signal }: Context,
  clients: Clients,
  paths: readonly string[],
  { reason, json = false }: PushOptions,
): Promise<number> {
  const why = parseReason(reason);
  const files = readSources(paths, config.cwd);
  const { findings } = check(await createPolicyEngine(), files);
  for (const finding of findings) terminal.say(findingLine(finding));
  if (findings.some(({ error }) => error)) {
    terminal.warn('nothing was stored');
    return badPolicy;
  }
  const sources = { files: files.map(({ name, text }) => ({ name, text })) };
  const { version } = await clients.policies.putPolicyDraft({ sources, reason: why }, { signal });
  const number = Number(version?.version ?? 0);
  if (json) terminal.json({ version: number, rules: version?.rules ?? 0, hash: version?.hash ?? '' });
  else terminal.out(String(number));
  terminal.note(
    `version ${number} is a draft; \`kontext policy publish ${number} --mode observe\` lets it hold`,
  );
  return 0;
}

const badPolicy = 65;
