import { KontextError } from '@kontext/errors';
import { createPolicyEngine, type PolicyEngine } from '@kontext/policy';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { diffLines } from './line-diff.ts';
import { readSources } from './read-sources.ts';
import { check, findingLine } from './validate.ts';
import { isVersion } from './wire.ts';

/** How one rule differs, as `--json` prints it. */
export interface RuleDiff {
  readonly rule: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** Lines after ` `, `-` or `+`. */
  readonly lines: readonly string[];
}

/**
 * `kontext policy diff`: compares by rule; the order of rules and files does not count, nor what stands between rules.
 *
 * @param places Versions or paths. None: what holds for everybody with the newest version; one: what holds with it.
 * @returns 0, whatever differs.
 * @throws KontextError `KX_POLICY_INVALID` when a side cannot be parsed.
 */
export async function diff(
  context: Context,
  clients: Clients,
  places: readonly string[],
  json: boolean,
): Promise<number> {
  const { terminal } = context;
  const [from = '', to = ''] = places.length < 2 ? ['held', places[0] ?? 'newest'] : places;
  const engine = await createPolicyEngine();
  const before = await loadSide(context, clients, engine, from);
  const after = await loadSide(context, clients, engine, to);
  const rules = diffRules(before.rules, after.rules);
  if (json) {
    terminal.json({ from: before.name, to: after.name, rules });
    return 0;
  }
  for (const { rule, change, lines } of rules) {
    terminal.out(`${change} ${rule}`);
    for (const line of lines) terminal.out(`  ${line}`);
  }
  terminal.note(`${before.name} and ${after.name}: ${summarize(rules)}`);
  return 0;
}

interface Side {
  readonly name: string;
  readonly rules: ReadonlyMap<string, string>;
}

async function loadSide(
  { config, signal }: Context,
  clients: Clients,
  engine: PolicyEngine,
  place: string,
): Promise<Side> {
  const isStored = place === 'held' || place === 'newest' || isVersion(place);
  if (!isStored) return { name: place, rules: split(engine, place, readSources([place], config.cwd)) };
  const version = isVersion(place)
    ? BigInt(place)
    : place === 'held'
      ? 0n
      : await newestVersion(clients, signal);
  const answer = await clients.policies.getPolicyVersion({ version }, { signal });
  const files = (answer.sources?.files ?? []).map(({ name, text }) => ({ name, text, path: name }));
  const name = `version ${answer.version?.version ?? version}`;
  return { name, rules: split(engine, name, files) };
}

async function newestVersion(clients: Clients, signal: AbortSignal): Promise<bigint> {
  const { versions } = await clients.policies.listPolicyVersions({ pageSize: 1 }, { signal });
  return versions[0]?.version ?? 0n;
}

function split(
  engine: PolicyEngine,
  name: string,
  files: Parameters<typeof check>[1],
): ReadonlyMap<string, string> {
  const { policies, findings } = check(engine, files);
  const unreadable = findings.find((finding) => finding.error);
  if (unreadable !== undefined) {
    throw new KontextError('KX_POLICY_INVALID', `${name} cannot be compared`, {
      why: findingLine(unreadable),
    });
  }
  return new Map(policies.map(({ id, text }) => [id, text.trim()]));
}

/** What differs, in the order of names. */
function diffRules(before: Side['rules'], after: Side['rules']): readonly RuleDiff[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.flatMap((rule): RuleDiff[] => {
    const [old, now] = [before.get(rule), after.get(rule)];
    if (old === now) return [];
    const change = old === undefined ? 'added' : now === undefined ? 'removed' : 'changed';
    return [{ rule, change, lines: diffLines(old?.split('\n') ?? [], now?.split('\n') ?? []) }];
  });
}

function summarize(rules: readonly RuleDiff[]): string {
  if (rules.length === 0) return 'no rule differs';
  const count = (change: RuleDiff['change']): number => rules.filter((one) => one.change === change).length;
  return `${count('added')} added, ${count('removed')} removed, ${count('changed')} changed`;
}
