import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { gatherStatus, isSkewed, type Status } from '../login/gather-status.ts';
import { describeBacklog } from '../session/measure-spool.ts';

/** `kontext status [--json]` */
export function define(command: Command, run: RunCommand): void {
  command
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) =>
      run({}, (context) => showStatus(context, options.json ?? false)),
    );
}

async function showStatus(context: Context, json: boolean): Promise<number> {
  const { status, exitCode } = await gatherStatus(context);
  if (json) context.terminal.json(status);
  else for (const line of describeStatus(status)) context.terminal.out(line);
  return exitCode;
}

const howBy: Readonly<Record<string, string>> = {
  'urn:kontext:acr:passcode': 'with a passcode',
  'urn:kontext:acr:federated': 'at the identity provider',
};

function describeLogin({ login }: Status): [string, string | null][] {
  if (login === null) return [];
  const { createdAt, acr, idleExpiresAt, absoluteExpiresAt } = login;
  const how = howBy[acr] ?? acr;
  return [
    ['logged in', createdAt && `${describeAge(createdAt)} ago, ${how}`],
    ['expires', absoluteExpiresAt && `in ${describeAge(absoluteExpiresAt)}`],
    ['', idleExpiresAt && `in ${describeAge(idleExpiresAt)} when it is not used`],
  ];
}

/** Whole days from two days on, else hours, else minutes. */
function describeAge(instant: string): string {
  const minutes = Math.floor(Math.abs(Date.parse(instant) - Date.now()) / 60_000);
  if (minutes >= 2 * 24 * 60) return `${Math.floor(minutes / (24 * 60))} days`;
  return minutes >= 120 ? `${Math.floor(minutes / 60)} h` : `${minutes} min`;
}

/** A page holds 200. */
const describeLive = ({ sessions, leases }: NonNullable<Status['live']>): string =>
  `${sessions >= 200 ? '200+' : sessions} session(s), ${leases >= 200 ? '200+' : leases} credential(s)`;

const describeAuditTrouble = ({ auditTrouble }: Status): string | null =>
  auditTrouble && `ERROR: ${auditTrouble.message}: ${auditTrouble.why} (${auditTrouble.code})`;

function describeStatus(status: Status): string[] {
  const { user, org, backend, spool, error } = status;
  const account = user ? `${user.name}${status.role ? ` (${status.role})` : ''}` : 'nobody is logged in';
  const reached = backend.reachable
    ? `reachable${backend.version ? `, version ${backend.version}` : ''}`
    : 'not reached';
  const lines: [string, string | null][] = [
    ['account', account],
    ['organisation', org ? `${org.name ?? org.id}${org.slug ? ` (${org.slug})` : ''}` : null],
    ['login', status.loginStore ? `kept in ${status.loginStore}` : null],
    ...describeLogin(status),
    ['backend', `${status.apiUrl}, ${reached}`],
    [
      'clock',
      isSkewed(status) ? `off by ${Math.round((backend.clockSkewMs ?? 0) / 1000)} s; please set it` : null,
    ],
    ['policy key', status.policyKeyPinned === false ? 'differs from the one pinned at login' : null],
    ['audit log', describeAuditTrouble(status)],
    ['session', status.session],
    ['live', status.live ? describeLive(status.live) : null],
    ['spool', describeBacklog(spool, Date.now())],
    ['problem', error ? `${error.message} (${error.code})` : null],
    ['next', error ? error.next : null],
  ];
  return lines.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(13)} ${value}`]));
}
