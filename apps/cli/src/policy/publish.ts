import { KontextError } from '@kontext/errors';
import type { PolicyPublication } from '@kontext/protocol';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import {
  audienceOf,
  describePublication,
  parseMode,
  parseReason,
  parseStaleRule,
  parseVersion,
} from './wire.ts';

/** How a version is to hold. */
export interface PublishOptions {
  readonly mode: string;
  /** Left out: everybody. */
  readonly group?: string;
  readonly stale: string;
  readonly reason: string;
  readonly json?: boolean;
}

/** `kontext policy publish`: lets a version hold, once a person has confirmed it in the browser. */
export async function publish(
  { terminal, signal }: Context,
  clients: Clients,
  version: string,
  { mode, group = '', stale, reason, json = false }: PublishOptions,
): Promise<number> {
  const { publication } = await clients.policies.publishPolicy(
    {
      ...{ version: parseVersion(version), group, mode: parseMode(mode) },
      ...{ staleRule: parseStaleRule(stale), reason: parseReason(reason) },
    },
    { signal },
  );
  return show(terminal, publication, json);
}

/** What a publication is ended with. */
export interface WithdrawOptions {
  readonly group: string;
  readonly reason: string;
  readonly json?: boolean;
}

/** `kontext policy withdraw`: what holds for everybody holds for the group again. */
export async function withdraw(
  { terminal, signal }: Context,
  clients: Clients,
  { group, reason, json = false }: WithdrawOptions,
): Promise<number> {
  if (group.trim() === '') throw new KontextError('KX_USAGE', '--group is empty');
  const request = { group, reason: parseReason(reason) };
  const { publication } = await clients.policies.withdrawPolicy(request, { signal });
  if (json) terminal.json(publication ? describePublication(publication) : null);
  terminal.note(`withdrawn for ${audienceOf(group)}; what holds for everybody holds for it again`);
  return 0;
}

/** What an earlier version comes back with. */
export interface RestoreOptions {
  readonly group?: string;
  readonly reason?: string;
  readonly json?: boolean;
}

/**
 * `kontext policy restore`: publishes an earlier version as a new publication, in the mode and with the rule for staleness that
 * hold now.
 *
 * @throws KontextError `KX_NOT_FOUND` when nothing holds for them yet.
 */
export async function restore(
  { terminal, signal }: Context,
  clients: Clients,
  version: string,
  { group = '', reason, json = false }: RestoreOptions,
): Promise<number> {
  const wanted = parseVersion(version);
  const { publications } = await clients.policies.listPolicyVersions({ pageSize: 1 }, { signal });
  const present = publications.find((one) => one.group === group && !one.withdrawn);
  if (present === undefined) {
    throw new KontextError('KX_NOT_FOUND', `nothing holds for ${audienceOf(group)} yet`, {
      hint: `run \`kontext policy publish ${version}\``,
    });
  }
  const { mode, staleRule } = present;
  const why = parseReason(reason ?? `restored in place of version ${present.version}`);
  const request = { version: wanted, group, mode, staleRule, reason: why };
  const { publication } = await clients.policies.publishPolicy(request, { signal });
  return show(terminal, publication, json);
}

function show(
  terminal: Context['terminal'],
  publication: PolicyPublication | undefined,
  json: boolean,
): number {
  if (publication === undefined) return 0;
  const facts = describePublication(publication);
  if (json) terminal.json(facts);
  terminal.note(
    `publication ${facts.seq}: version ${facts.version} holds for ${audienceOf(facts.group)}, mode ${facts.mode}`,
  );
  return 0;
}
