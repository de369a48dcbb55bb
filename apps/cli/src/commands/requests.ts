import type { Approval } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { requestLifetimes, requestStates } from '../session/decide-request.ts';

interface ListOptions {
  readonly all?: boolean;
  readonly json?: boolean;
}

/** Most requests a list shows. */
const maxListed = 200;
const shownPart = 80;

/** `kontext requests ls` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('ls')
    .description('list tool calls that wait for a person: yours, and those you may decide')
    .option('--all', 'also those that are decided or over')
    .option('--json', 'as JSON')
    .action((options: ListOptions) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, options))),
    );
}

async function list({ terminal, signal }: Context, clients: Clients, options: ListOptions): Promise<number> {
  const { all = false, json = false } = options;
  const query = { pending: !all, pageSize: maxListed };
  const { approvals, nextPageToken } = await clients.approvals.listApprovals(query, { signal });
  if (json) {
    terminal.json(approvals.map(describe));
    return 0;
  }
  if (approvals.length > 0) {
    const rows = approvals
      .map(describe)
      .map((one) => [
        one.id,
        one.mineToDecide ? `${one.state}, yours to decide` : one.state,
        ...[one.user, one.agent, one.part.length > shownPart ? `${one.part.slice(0, shownPart)}…` : one.part],
        ...[one.rule, one.approver ?? one.user, one.expiresAt ?? ''],
      ]);
    terminal.table(['REQUEST', 'STATE', 'USER', 'AGENT', 'CALL', 'RULE', 'WHO DECIDES', 'UNTIL'], rows);
  } else terminal.note(all ? 'there are no requests' : 'nothing waits for a decision');
  if (nextPageToken !== '') terminal.note(`only the newest ${maxListed} are shown`);
  return 0;
}

const describe = (approval: Approval) => ({
  id: approval.id,
  state: requestStates[approval.state] ?? 'unknown',
  mineToDecide: approval.mineToDecide,
  session: approval.sessionId,
  user: approval.userName,
  agent: approval.agent,
  hostname: approval.hostname,
  tool: approval.tool,
  part: approval.part,
  rule: approval.rule,
  policyVersion: Number(approval.policyVersion),
  reason: approval.reason,
  approver: approval.approver || null,
  fourEyes: approval.fourEyes,
  lifetime: requestLifetimes[approval.lifetime] ?? null,
  decidedBy: approval.decidedByName || null,
  decisionReason: approval.decisionReason || null,
  url: approval.url,
  createdAt: instant(approval.createdAt),
  expiresAt: instant(approval.expiresAt),
  decidedAt: instant(approval.decidedAt),
});

const instant = (at: Approval['createdAt']): string | null =>
  at === undefined ? null : new Date(Number(at.seconds) * 1000).toISOString();
