import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { gatherStatus, isSkewed, type Status } from '../login/gather-status.ts';

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

function describeStatus(status: Status): string[] {
  const { user, org, backend, spool, error } = status;
  const account = user ? `${user.name}${status.role ? ` (${status.role})` : ''}` : 'nobody is logged in';
  const reached = backend.reachable
    ? `reachable${backend.version ? `, version ${backend.version}` : ''}`
    : 'not reached';
  const lines: [string, string | null][] = [
    ['account', account],
    ['organisation', org ? (org.name ?? org.id) : null],
    ['login', status.loginStore ? `kept in ${status.loginStore}` : null],
    ['backend', `${status.apiUrl}, ${reached}`],
    [
      'clock',
      isSkewed(status) ? `off by ${Math.round((backend.clockSkewMs ?? 0) / 1000)} s; please set it` : null,
    ],
    ['policy key', status.policyKeyPinned === false ? 'differs from the one pinned at login' : null],
    ['session', status.session],
    [
      'spool',
      spool.sessions === 0 ? 'empty' : `${spool.sessions} session(s), ${spool.bytes} bytes wait to be sent`,
    ],
    ['problem', error ? `${error.message} (${error.code})` : null],
    ['next', error ? error.next : null],
  ];
  return lines.flatMap(([name, value]) => (value === null ? [] : [`${name.padEnd(13)} ${value}`]));
}
