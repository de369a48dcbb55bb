import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandResult } from '@kontext/testkit';
import { followAudit, type TailedEvent } from '../follow-audit.ts';
import type { World } from '../world.ts';

/** What `--json` prints as the last line. */
export interface VerdictSummary {
  readonly credentials: number;
  readonly events: number;
  readonly denied: number;
  readonly auditVerified: boolean;
  readonly hookP50Ms: number;
}

/** What the demo found, read back from the backend, not remembered. */
export interface Verdict {
  readonly ok: boolean;
  readonly summary: VerdictSummary;
  readonly session: string;
  readonly calls: readonly {
    readonly command: string;
    readonly decision: string;
    readonly outcome: string;
  }[];
  /** Lines of a table: variable, provider, kind, scopes, lifetime. */
  readonly credentials: readonly string[];
  readonly verifyText: string;
  readonly failures: readonly string[];
}

interface ToolPayload {
  readonly call?: { readonly command?: string | null };
}

/** Reads the session's events, its credentials and the verifier's word back through the command. */
export async function readVerdict(
  world: World,
  run: CommandResult,
  expectedCredentials: number,
): Promise<Verdict> {
  const tail = followAudit(world);
  const ended = await tail.waitFor((event) => event.kind === 'session.ended');
  await tail.stop();
  const events = tail.events.filter((event) => event.session === ended.session);
  const verify = await world.cli(['audit', 'verify', ended.session]);
  const resolved = events.filter((event) => event.kind === 'credential.resolved');
  const denied = events.filter((event) => event.kind === 'tool_call.decided' && event.decision === 'deny');
  const summary = {
    credentials: resolved.length,
    events: events.length,
    denied: denied.length,
    auditVerified: verify.exitCode === 0,
    hookP50Ms: readHookMedian(world),
  };
  const failures = findFailures(world, run, summary, expectedCredentials);
  const credentials = await describeCredentials(world);
  const calls = describeCalls(events);
  // The last line of standard error is the sentence; before it stands the notice on where the login is kept.
  const verifyText = `${verify.stdout.trim()}\n${verify.stderr.trim().split('\n').at(-1) ?? ''}`;
  return {
    ok: failures.length === 0,
    summary,
    session: ended.session,
    calls,
    credentials,
    verifyText,
    failures,
  };
}

function readHookMedian(world: World): number {
  const path = join(world.home.workDir, 'hook-median.txt');
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : Number.NaN;
}

/** Every sentence the demo promises, as something that can be false. */
function findFailures(
  world: World,
  run: CommandResult,
  summary: VerdictSummary,
  credentials: number,
): string[] {
  const promises: readonly (readonly [boolean, string])[] = [
    [run.exitCode === 0, `the agent ended with ${run.exitCode ?? run.signal}`],
    [
      summary.credentials === credentials,
      `${summary.credentials} credentials were handed out, not ${credentials}`,
    ],
    [summary.denied === 1, `${summary.denied} calls were denied, not 1`],
    [existsSync(join(world.home.workDir, 'victim/thesis.txt')), 'the folder was deleted'],
    [existsSync(join(world.home.workDir, 'token-accepted')), 'the provider did not accept the token'],
    [summary.auditVerified, 'the audit chain does not verify'],
    [summary.hookP50Ms > 0, 'the hook was not measured'],
  ];
  return promises.filter(([kept]) => !kept).map(([, failure]) => failure);
}

/** Variable, provider, kind and lifetime as the command itself tells them; it never prints a value. */
async function describeCredentials(world: World): Promise<readonly string[]> {
  const dry = await world.cli(['run', '--dry-run', '--trust', '--', 'true']);
  const rows = dry.stdout.trimEnd().split('\n');
  return rows.map((row) =>
    row
      .split('\t')
      .map((cell) => cell.padEnd(13))
      .join(' ')
      .trimEnd(),
  );
}

function describeCalls(events: readonly TailedEvent[]): Verdict['calls'] {
  const toolUse = (event: TailedEvent) => (JSON.parse(event.header) as { toolUse: string | null }).toolUse;
  const outcomes = new Map(
    events
      .filter((event) => event.kind === 'tool_call.completed' || event.kind === 'tool_call.failed')
      .map((event) => [toolUse(event), event.kind.replace('tool_call.', '')]),
  );
  return events
    .filter((event) => event.kind === 'tool_call.decided')
    .map((event) => {
      const payload = JSON.parse(event.payload ?? '{}') as ToolPayload;
      const outcome = outcomes.get(toolUse(event)) ?? (event.decision === 'deny' ? 'blocked' : 'no outcome');
      return { command: payload.call?.command ?? event.tool, decision: event.decision, outcome };
    });
}

const clip = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text;

/** What a user wants to see at the end. */
export function printReport(verdict: Verdict, seconds: number, say: (text: string) => void): void {
  say('\nCredentials handed to the agent (values were never printed):');
  for (const line of verdict.credentials) say(`  ${line}`);
  say('\nTool calls, as the audit log has them:');
  for (const call of verdict.calls) {
    say(
      `  ${call.decision.padEnd(6)} ${call.outcome.padEnd(10)} ${clip(call.command.replaceAll('\n', ' '), 84)}`,
    );
  }
  say(`\nAudit: ${verdict.verifyText.split('\n').join('\n       ')}`);
  say(`One hook costs ${verdict.summary.hookP50Ms} ms from spawn to exit (median of 15 in a session).`);
  for (const failure of verdict.failures) say(`FAILED: ${failure}`);
  say(
    `\n${verdict.ok ? 'Everything held.' : 'Something did not hold.'} ${seconds.toFixed(0)} s, all of it on this machine.`,
  );
  say(
    'Next: `kontext serve` for a backend that stays, `kontext login`, then `kontext start --agent claude` in a',
  );
  say('project of yours. How it works: docs/architecture.md. What it cannot do: README, "Security model".');
}
