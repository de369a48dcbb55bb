import { KontextError } from '@kontext/errors';
import type { Member } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface RoleOptions {
  readonly group?: readonly string[];
  /** False for `--no-groups`. */
  readonly groups: boolean;
}

/** `kontext members ls|role|suspend|restore` */
export function define(command: Command, run: RunCommand): void {
  const change = (work: (context: Context, clients: Clients) => Promise<void>) =>
    run({}, async (context) => {
      refuseInSession(context);
      await withClients(context, (clients) => work(context, clients));
      return 0;
    });
  command
    .command('ls')
    .description('list the people of the organisation')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, options.json ?? false))),
    );
  command
    .command('role <member> <role>')
    .description('make a member owner, admin, security, approver, auditor or member')
    .option('--group <group...>', 'groups instead of those they have')
    .option('--no-groups', 'no groups')
    .action((name: string, role: string, options: RoleOptions) =>
      change((context, clients) => setRole(context, clients, name, role, options)),
    );
  command
    .command('suspend <member>')
    .description('take all access from a member: logins, sessions and credentials end at once')
    .action((name: string) => change((context, clients) => suspend(context, clients, name)));
  command
    .command('restore <member>')
    .description('let a suspended member log in again')
    .action((name: string) => change((context, clients) => restore(context, clients, name)));
}

async function list(context: Context, clients: Clients, json: boolean): Promise<number> {
  const { terminal } = context;
  const members = (await listAll(context, clients)).map(describe);
  if (json) {
    terminal.json(members);
    return 0;
  }
  const rows = members.map((m) => [
    ...[m.name, m.role, m.groups.join(' ') || '-', m.identityProvider || 'local account'],
    ...[m.suspendedAt === null ? `${m.liveSessions} live` : 'suspended', m.lastLoginAt ?? 'never', m.userId],
  ]);
  terminal.table(['NAME', 'ROLE', 'GROUPS', 'VOUCHED FOR BY', 'SESSIONS', 'LAST LOGIN', 'ID'], rows);
  return 0;
}

async function setRole(
  context: Context,
  clients: Clients,
  name: string,
  role: string,
  options: RoleOptions,
): Promise<void> {
  const found = await find(context, clients, name);
  const groups = options.groups ? [...(options.group ?? found.groups)] : [];
  const request = { userId: found.userId, role, groups };
  const { member } = await clients.organisation.setMember(request, { signal: context.signal });
  context.terminal.note(`${found.name} is ${member?.role ?? role} now`);
}

async function suspend(context: Context, clients: Clients, name: string): Promise<void> {
  const { userId, name: known } = await find(context, clients, name);
  const ended = await clients.organisation.suspendMember({ userId }, { signal: context.signal });
  const { loginsEnded, sessionsEnded, leasesEnded } = ended;
  context.terminal.note(
    `${known} is suspended; ended: ${loginsEnded} logins, ${sessionsEnded} sessions, ${leasesEnded} leases`,
  );
}

async function restore(context: Context, clients: Clients, name: string): Promise<void> {
  const { userId, name: known } = await find(context, clients, name);
  await clients.organisation.suspendMember({ userId, restore: true }, { signal: context.signal });
  context.terminal.note(`${known} can log in again`);
}

/** By id, name or e-mail address. @throws KontextError `KX_NOT_FOUND`; `KX_USAGE` when several fit. */
async function find(context: Context, clients: Clients, wanted: string): Promise<Member> {
  const all = await listAll(context, clients);
  const fitting = all.filter(({ userId, name, email }) => [userId, name, email].includes(wanted));
  const [found] = fitting;
  if (wanted === '' || found === undefined) {
    throw new KontextError('KX_NOT_FOUND', `there is no member ${wanted}`, {
      hint: 'run `kontext members ls`',
    });
  }
  if (fitting.length > 1) {
    throw new KontextError('KX_USAGE', `several members are called ${wanted}`, { hint: 'give the id' });
  }
  return found;
}

async function listAll({ signal }: Context, clients: Clients): Promise<Member[]> {
  const all: Member[] = [];
  for (let pageToken = ''; ; ) {
    const page = await clients.organisation.listMembers({ pageSize: 200, pageToken }, { signal });
    all.push(...page.members);
    if (page.nextPageToken === '') return all;
    pageToken = page.nextPageToken;
  }
}

const describe = (member: Member) => ({
  userId: member.userId,
  name: member.name,
  email: member.email,
  role: member.role,
  groups: member.groups,
  identityProvider: member.identityProvider,
  liveSessions: member.liveSessions,
  suspendedAt: toIso(member.suspendedAt),
  lastLoginAt: toIso(member.lastLoginAt),
});

const toIso = (at: { readonly seconds: bigint } | undefined): string | null =>
  at === undefined ? null : new Date(Number(at.seconds) * 1000).toISOString();
