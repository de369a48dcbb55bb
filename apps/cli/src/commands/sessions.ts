import { KontextError } from '@kontext/errors';
import { Mode, type Session, SessionState } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface ListOptions {
  readonly json?: boolean;
  readonly live?: boolean;
  readonly mine?: boolean;
}

/** `kontext sessions ls|show|end` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('ls')
    .description('list sessions, newest first; who may see them all sees those of everybody')
    .option('--live', 'leave out those that ended')
    .option('--mine', 'only my own')
    .option('--json', 'as JSON')
    .action((options: ListOptions) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, options))),
    );
  command
    .command('show <session>')
    .description('show one session')
    .option('--json', 'as JSON')
    .action((id: string, options: { json?: boolean }) =>
      run({}, (context) =>
        withClients(context, (clients) => show(context, clients, id, options.json ?? false)),
      ),
    );
  command
    .command('end <session>')
    .description('end a session and its credentials; the agent itself is not stopped')
    .option('--reason <text>', 'why, for the log', 'ended by hand')
    .action((id: string, options: { reason: string }) =>
      run({}, (context) => {
        refuseInSession(context);
        return withClients(context, (clients) => end(context, clients, id, options.reason));
      }),
    );
}

/** Most sessions a list shows. */
const maxListed = 200;

async function list({ terminal, signal }: Context, clients: Clients, options: ListOptions): Promise<number> {
  const { live = false, mine = false, json = false } = options;
  const query = { live, mine, pageSize: maxListed };
  const { sessions, nextPageToken } = await clients.sessions.listSessions(query, { signal });
  const rows = sessions.map(describeSession);
  if (json) terminal.json(rows);
  else {
    const head = ['SESSION', 'STATE', 'USER', 'AGENT', 'MACHINE', 'STARTED', 'LEASES'];
    terminal.table(
      head,
      rows.map((s) => [
        s.id,
        stateOf(s),
        s.user,
        s.agent,
        s.hostname,
        s.startedAt ?? '-',
        String(s.liveLeases),
      ]),
    );
    if (rows.length === 0) terminal.note('there are no sessions');
    if (nextPageToken !== '') terminal.note(`only the newest ${maxListed} are shown`);
  }
  return 0;
}

const stateOf = ({ state, tamperedAt }: ReturnType<typeof describeSession>): string =>
  tamperedAt === null ? state : `${state}, tampered`;

async function show(
  { terminal, signal }: Context,
  clients: Clients,
  id: string,
  json: boolean,
): Promise<number> {
  const { session } = await clients.sessions.getSession({ sessionId: id }, { signal });
  if (session === undefined) throw new KontextError('KX_NOT_FOUND', `there is no session ${id}`);
  const facts = describeSession(session);
  if (json) terminal.json(facts);
  else for (const [name, value] of Object.entries(facts)) terminal.out(`${name}: ${value ?? '-'}`);
  return 0;
}

async function end(
  { terminal, signal }: Context,
  clients: Clients,
  id: string,
  reason: string,
): Promise<number> {
  if (reason.trim() === '') throw new KontextError('KX_USAGE', '--reason is empty');
  const answer = await clients.sessions.endSession({ sessionId: id, exitCode: 0, reason }, { signal });
  terminal.note(`${id} is ended: ${answer.leasesEnded} leases ended, ${answer.leasesRevoked} taken back`);
  for (const provider of new Set(answer.living.map((one) => one.provider))) {
    terminal.note(`the credential of ${provider} cannot be recalled`);
  }
  return 0;
}

const describeSession = (session: Session) => ({
  id: session.id,
  state: stateNames[session.state] ?? 'unknown',
  user: session.userName,
  userId: session.userId,
  agent: session.agent,
  agentVersion: session.agentVersion,
  hostname: session.hostname,
  mode: session.mode === Mode.OBSERVE ? 'observe' : 'enforce',
  policyVersion: Number(session.policyVersion),
  startedAt: instant(session.startedAt),
  endedAt: instant(session.endedAt),
  endReason: session.endReason || null,
  tamperedAt: instant(session.tamperedAt),
  liveLeases: session.liveLeases,
});

const stateNames: Readonly<Partial<Record<SessionState, string>>> = {
  [SessionState.LIVE]: 'live',
  [SessionState.ENDED]: 'ended',
  [SessionState.LOST]: 'lost',
};

const instant = (at: Session['startedAt']): string | null =>
  at === undefined ? null : new Date(Number(at.seconds) * 1000).toISOString();
