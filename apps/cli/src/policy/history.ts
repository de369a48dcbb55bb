import type { PolicyPublication, PolicyVersion } from '@kontext/protocol';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { audienceOf, describePublication, instant, modeName } from './wire.ts';

/** Most versions that are shown. */
const maxListed = 200;

/** `kontext policy history`: versions, newest first, with author, reason and where they hold. */
export async function history(
  { terminal, signal }: Context,
  clients: Clients,
  json: boolean,
): Promise<number> {
  const answer = await clients.policies.listPolicyVersions({ pageSize: maxListed }, { signal });
  const { versions, publications } = answer;
  if (json) {
    terminal.json({
      versions: versions.map(describeVersion),
      publications: publications.map(describePublication),
    });
    return 0;
  }
  terminal.table(
    ['VERSION', 'CREATED', 'AUTHOR', 'RULES', 'HOLDS FOR', 'REASON'],
    versions.map((one) => [
      ...[String(one.version), instant(one.createdAt) ?? '-', one.author || '-', String(one.rules)],
      ...[one.holds.map(placeOf).join(', ') || '-', one.reason || '-'],
    ]),
  );
  if (answer.nextPageToken !== '') terminal.note(`only the newest ${maxListed} are shown`);
  return 0;
}

const placeOf = ({ group, mode }: PolicyPublication): string => `${audienceOf(group)} (${modeName(mode)})`;

const describeVersion = (one: PolicyVersion) => ({
  ...{ version: Number(one.version), author: one.author, reason: one.reason },
  ...{ createdAt: instant(one.createdAt), rules: one.rules, hash: one.hash },
  holds: one.holds.map(describePublication),
});
