import { KontextError } from '@kontext/errors';
import type { ReplayReport } from '@kontext/protocol';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { parseDuration } from '../session/parse-duration.ts';
import { readSources } from './read-sources.ts';
import { audienceOf, parseVersion } from './wire.ts';

/** Which calls are decided again. */
export interface ReplayOptions {
  readonly since: string;
  /** A stored version, instead of files. */
  readonly version?: string;
  readonly group?: string;
  readonly json?: boolean;
}

const maxSinceSeconds = 90 * 86_400;

/**
 * `kontext policy replay`: decides recorded calls again with files or a version, at the backend, and shows what would change.
 *
 * Progress goes to standard error, the report to standard output.
 *
 * @throws KontextError `KX_USAGE` unless there is either a version or files; what `readSources` throws.
 */
export async function replay(
  { config, terminal, signal }: Context,
  clients: Clients,
  paths: readonly string[],
  { since, version, group = '', json = false }: ReplayOptions,
): Promise<number> {
  if ((version === undefined) === (paths.length === 0)) {
    throw new KontextError('KX_USAGE', 'name either --version or policy files', {
      hint: 'run `kontext policy replay policies`, or `kontext policy replay --version 7`',
    });
  }
  const sinceSeconds = parseDuration(since, '--since');
  if (sinceSeconds > maxSinceSeconds) throw new KontextError('KX_USAGE', '--since is longer than 90d');
  const files = version === undefined ? readSources(paths, config.cwd) : [];
  const what =
    version === undefined
      ? { sources: { files: files.map(({ name, text }) => ({ name, text })) } }
      : { version: parseVersion(version) };
  // A stream is not sent again when the backend wants a nonce; a plain call before it settles that.
  await clients.organisation.getCaller({}, { signal });
  // Deciding 200,000 calls takes minutes; the backend sends progress, and the person can interrupt.
  const answers = clients.policies.replayPolicy({ ...what, sinceSeconds, group }, { signal, timeoutMs: 0 });
  let report: ReplayReport | undefined;
  try {
    for await (const { calls, report: last } of answers) {
      terminal.status(`${calls} calls decided again …`);
      report = last ?? report;
    }
  } finally {
    terminal.status(null);
  }
  if (report === undefined) throw new KontextError('KX_TEMPORARY', 'the replay ended without a report');
  if (json) terminal.json(describeReport(report));
  else showReport(terminal, report, audienceOf(group));
  return 0;
}

function showReport(terminal: Context['terminal'], report: ReplayReport, audience: string): void {
  const { calls, newlyDenied, newlyAsked, newlyAllowed, people, sessions } = report;
  terminal.table(
    ['CALLS', 'WAS', 'WOULD BE', 'RULE', 'CALL', 'PEOPLE', 'EXAMPLE'],
    report.groups.map((one) => [
      ...[String(one.calls), one.before, one.after, one.rule || '-', one.shape],
      ...[one.people.join(', ') || '-', one.exampleEventId],
    ]),
  );
  terminal.note(
    `${calls} calls of ${audience} (${people} people in ${sessions} sessions): ${newlyDenied} newly denied, ` +
      `${newlyAsked} newly asked, ${newlyAllowed} newly allowed`,
  );
  for (const { cause, calls: count } of report.notReproducible) {
    terminal.note(`${count} calls cannot be decided exactly again: ${cause}`);
  }
  if (report.truncated) terminal.warn('there were more calls than a replay reads; choose a shorter --since');
}

/** As `--json` prints it. Key set pinned by a test. */
const describeReport = (report: ReplayReport) => ({
  ...{ calls: Number(report.calls), same: Number(report.same) },
  ...{ newlyDenied: Number(report.newlyDenied), newlyAsked: Number(report.newlyAsked) },
  ...{ newlyAllowed: Number(report.newlyAllowed), people: report.people, sessions: report.sessions },
  notReproducible: report.notReproducible.map(({ cause, calls }) => ({ cause, calls: Number(calls) })),
  groups: report.groups.map((one) => ({
    ...{ shape: one.shape, before: one.before, after: one.after, rule: one.rule || null },
    ...{ calls: Number(one.calls), people: one.people },
    ...{ exampleEventId: one.exampleEventId, exampleSessionId: one.exampleSessionId },
  })),
  truncated: report.truncated,
});
