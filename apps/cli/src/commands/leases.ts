import type { MessageInitShape } from '@bufbuild/protobuf';
import { KontextError } from '@kontext/errors';
import {
  CredentialKind,
  type Lease,
  LeaseState,
  Recall,
  Revocation,
  type RevokeLeasesRequestSchema,
} from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface ListOptions {
  readonly session?: string;
  readonly provider?: string;
  readonly live?: boolean;
  readonly everybody?: boolean;
  readonly json?: boolean;
}

interface RevokeOptions {
  readonly session?: string;
  readonly connection?: string;
  readonly user?: string;
  readonly agent?: string;
  readonly provider?: string;
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `kontext leases ls|revoke` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('ls')
    .description('list credentials that were handed out, newest first')
    .option('--session <id>', 'only of this session')
    .option('--provider <name>', 'only of this provider')
    .option('--live', 'leave out those that ended')
    .option('--everybody', 'those of everybody in the organisation')
    .option('--json', 'as JSON')
    .action((options: ListOptions) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, options))),
    );
  command
    .command('revoke [lease]')
    .description('end credentials before their time; give a lease, or exactly one of the options')
    .option('--session <id>', 'those of a session')
    .option('--connection <id>', 'those made from a connection')
    .option('--user <id>', 'those of a member; `me` for my own')
    .option('--agent <name>', 'those handed out through an agent')
    .option('--provider <name>', 'those of a provider')
    .option('--all', 'all of the organisation')
    .option('--dry-run', 'show what would end, and end nothing')
    .option('--json', 'as JSON')
    .action((lease: string | undefined, options: RevokeOptions) =>
      run({}, (context) => {
        refuseInSession(context);
        return withClients(context, (clients) => revoke(context, clients, lease, options));
      }),
    );
}

/** Most leases a list shows. */
const maxListed = 200;

async function list({ terminal, signal }: Context, clients: Clients, options: ListOptions): Promise<number> {
  const { session: sessionId = '', provider = '', live = false, everybody = false, json = false } = options;
  const query = { sessionId, provider, live, everybody, pageSize: maxListed };
  const { leases, nextPageToken } = await clients.credentials.listLeases(query, { signal });
  if (json) terminal.json(leases.map(describeLease));
  else {
    showTable(terminal, leases);
    if (leases.length === 0) terminal.note('there are no leases');
    if (nextPageToken !== '') terminal.note(`only the newest ${maxListed} are shown`);
  }
  return 0;
}

async function revoke(
  { terminal, signal }: Context,
  clients: Clients,
  lease: string | undefined,
  options: RevokeOptions,
): Promise<number> {
  const { dryRun = false, json = false } = options;
  const filter = await toFilter(clients, lease, options);
  const { leases, count } = await clients.credentials.revokeLeases({ filter, dryRun }, { signal });
  if (json) {
    terminal.json({ dryRun, count, leases: leases.map(describeLease) });
    return 0;
  }
  showTable(terminal, leases);
  const noun = count === 1 ? 'lease' : 'leases';
  terminal.note(dryRun ? `${count} ${noun} would end` : `${count} ${noun} ended`);
  const living = new Set(
    leases.filter(({ recall }) => recall !== Recall.REVOKED_UPSTREAM).map((one) => one.provider),
  );
  for (const provider of living) {
    terminal.note(`${provider} is not told: who holds the value can use it until it expires`);
  }
  return 0;
}

type Filter = NonNullable<MessageInitShape<typeof RevokeLeasesRequestSchema>['filter']>;

/** @throws KontextError `KX_USAGE` unless exactly one thing is named. */
async function toFilter(
  clients: Clients,
  lease: string | undefined,
  { session, connection, user, agent, provider, all }: RevokeOptions,
): Promise<Filter> {
  const filters: Filter[] = [];
  if (lease !== undefined) filters.push({ case: 'leaseId', value: lease });
  if (session !== undefined) filters.push({ case: 'sessionId', value: session });
  if (connection !== undefined) filters.push({ case: 'connectionId', value: connection });
  if (user !== undefined) filters.push({ case: 'userId', value: await toUserId(clients, user) });
  if (agent !== undefined) filters.push({ case: 'agent', value: agent });
  if (provider !== undefined) filters.push({ case: 'provider', value: provider });
  if (all === true) filters.push({ case: 'everything', value: true });
  const [only, ...more] = filters;
  if (only !== undefined && more.length === 0) return only;
  throw new KontextError('KX_USAGE', 'say which leases: one lease, or exactly one of the options', {
    hint: 'run `kontext leases revoke --help`',
  });
}

async function toUserId(clients: Clients, user: string): Promise<string> {
  if (user !== 'me') return user;
  return (await clients.organisation.getCaller({})).userId;
}

function showTable(terminal: Context['terminal'], leases: readonly Lease[]): void {
  const rows = leases
    .map(describeLease)
    .map((lease) => [
      lease.id,
      lease.resource === '' ? lease.provider : `${lease.provider}/${lease.resource}`,
      lease.kind,
      lease.endReason === null ? lease.state : `${lease.state}: ${lease.endReason}`,
      lease.user,
      lease.agent,
      lease.expiresAt ?? 'never',
      recallWords[lease.recall] ?? lease.recall,
    ]);
  terminal.table(['LEASE', 'CREDENTIAL', 'KIND', 'STATE', 'USER', 'AGENT', 'EXPIRES', 'REVOKING'], rows);
}

const recallWords: Readonly<Record<string, string>> = {
  upstream: 'ends it at the provider',
  expires: 'lives until it expires',
  never: 'lives until replaced',
};

const describeLease = (lease: Lease) => ({
  id: lease.id,
  provider: lease.provider,
  resource: lease.resource,
  kind: kindNames[lease.kind] ?? 'unknown',
  state: stateNames[lease.state] ?? 'unknown',
  endReason: lease.endReason || null,
  revocation: revocationNames[lease.revocation] ?? 'unknown',
  recall: recallNames[lease.recall] ?? 'unknown',
  scopes: lease.scopes,
  session: lease.sessionId || null,
  connection: lease.connectionId || null,
  user: lease.userName,
  userId: lease.userId,
  agent: lease.agent,
  renews: lease.renewsLeaseId || null,
  parent: lease.parentLeaseId || null,
  issuedAt: instant(lease.issuedAt),
  expiresAt: instant(lease.expiresAt),
  endedAt: instant(lease.endedAt),
  upstreamExpiresAt: instant(lease.upstreamExpiresAt),
});

const stateNames: Readonly<Partial<Record<LeaseState, string>>> = {
  [LeaseState.PENDING]: 'pending',
  [LeaseState.ACTIVE]: 'active',
  [LeaseState.ENDED]: 'ended',
};

const kindNames: Readonly<Partial<Record<CredentialKind, string>>> = {
  [CredentialKind.OAUTH]: 'oauth',
  [CredentialKind.STATIC]: 'static',
  [CredentialKind.MINTED]: 'minted',
  [CredentialKind.TOKEN]: 'token',
};

const recallNames: Readonly<Partial<Record<Recall, string>>> = {
  [Recall.REVOKED_UPSTREAM]: 'upstream',
  [Recall.EXPIRES]: 'expires',
  [Recall.NEVER]: 'never',
};

const revocationNames: Readonly<Partial<Record<Revocation, string>>> = {
  [Revocation.NONE]: 'none',
  [Revocation.PENDING]: 'pending',
  [Revocation.DONE]: 'done',
  [Revocation.FAILED]: 'failed',
  [Revocation.IMPOSSIBLE]: 'impossible',
};

const instant = (at: Lease['issuedAt']): string | null =>
  at === undefined ? null : new Date(Number(at.seconds) * 1000).toISOString();
