import type { Timestamp } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import { withClients } from '../rpc/open-backend.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface CreateOptions {
  readonly role: string;
  readonly group: string[];
}

/** `kontext invitations create|ls|rm` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('create <email>')
    .description('invite a person (administrators); the link is shown once and works once, for that address')
    .option('--role <role>', 'owner, admin, security, approver, auditor or member', 'member')
    .option('--group <name>', 'group that policies see; may be given several times', collect, [])
    .action((email: string, options: CreateOptions) => run({}, (context) => create(context, email, options)));
  command
    .command('ls')
    .description('list open invitations')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) => run({}, (context) => list(context, options.json ?? false)));
  command
    .command('rm <id>')
    .description('take an open invitation back (administrators)')
    .action((id: string) => run({}, (context) => remove(context, id)));
}

const collect = (value: string, earlier: readonly string[]): string[] => [...earlier, value];

async function create(context: Context, email: string, { role, group }: CreateOptions): Promise<number> {
  const { terminal, signal } = context;
  refuseInSession(context);
  const { link } = await withClients(context, (clients) =>
    clients.organisation.inviteMember({ email, role, groups: group }, { signal }),
  );
  terminal.note(`invited ${email}; send this link, it is shown this once:`);
  terminal.out(link);
  return 0;
}

async function list(context: Context, json: boolean): Promise<number> {
  const { terminal, signal } = context;
  const { invitations } = await withClients(context, (clients) =>
    clients.organisation.listInvitations({}, { signal }),
  );
  const open = invitations.map(({ id, email, role, groups, invitedBy, expiresAt }) => ({
    ...{ id, email, role, groups, invitedBy },
    expiresAt: toIso(expiresAt),
  }));
  if (json) terminal.json(open);
  else {
    const rows = open.map((one) => [one.email, one.role, one.groups.join(' ') || '-', one.expiresAt, one.id]);
    terminal.table(['E-MAIL', 'ROLE', 'GROUPS', 'EXPIRES', 'ID'], rows);
  }
  return 0;
}

async function remove(context: Context, invitationId: string): Promise<number> {
  const { terminal, signal } = context;
  refuseInSession(context);
  await withClients(context, (clients) =>
    clients.organisation.revokeInvitation({ invitationId }, { signal }),
  );
  terminal.note('the invitation does not work any more');
  return 0;
}

const toIso = (at: Timestamp | undefined): string =>
  at === undefined ? '' : new Date(Number(at.seconds) * 1000).toISOString();
