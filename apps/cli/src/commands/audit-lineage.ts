import type { LineageNode } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';

/** `kontext audit lineage` */
export function defineAuditLineage(command: Command, run: RunCommand): void {
  command
    .command('lineage <id>')
    .description(
      'show what stands behind an event, lease, connection, approval or session: consent to tool call',
    )
    .option('--json', 'as JSON')
    .action((id: string, { json = false }: { readonly json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => showLineage(context, clients, id, json))),
    );
}

async function showLineage(
  { terminal, signal }: Context,
  clients: Clients,
  id: string,
  json: boolean,
): Promise<number> {
  const { nodes, clipped, sameId } = await clients.audit.getLineage({ id }, { signal });
  const others = sameId.map(({ streamId, seq }) => ({ streamId, seq: Number(seq) }));
  if (json) terminal.json({ nodes: nodes.map(describeNode), clipped, sameId: others });
  else for (const line of treeLines(nodes)) terminal.out(line);
  if (clipped) terminal.note('there is more than is shown; ask for one of its sessions or leases');
  for (const { streamId, seq } of others)
    terminal.note(`${streamId} ${seq} bears that id, too; shown is the event that was received first`);
  return 0;
}

function describeNode({ id, parentId, type, kind, eventId, at, ...node }: LineageNode) {
  const { userName, label, tool, decision, asked, streamId, seq } = node;
  const place = { streamId, seq: Number(seq) };
  return {
    ...{ id, parentId, type, kind, eventId, ...place, at: instantOf(at) },
    ...{ userName, label, tool, decision, asked },
  };
}

const instantOf = (at: LineageNode['at']): string =>
  at === undefined ? '' : new Date(Number(at.seconds) * 1000 + Math.floor(at.nanos / 1e6)).toISOString();

/**
 * The tree, two spaces deeper per level; `>` marks what was asked for. What hangs below several things has its own below the first
 * of them.
 */
function treeLines(nodes: readonly LineageNode[]): string[] {
  const ids = new Set(nodes.map(({ id }) => id));
  const lines: string[] = [];
  const shown = new Set<string>();
  const show = (node: LineageNode, depth: number): void => {
    const again = shown.has(node.id);
    shown.add(node.id);
    lines.push(
      `${node.asked ? '>' : ' '} ${'  '.repeat(depth)}${nodeText(node)}${again ? ' (as above)' : ''}`,
    );
    if (again) return;
    for (const child of nodes) if (child.parentId === node.id) show(child, depth + 1);
  };
  for (const node of nodes) if (node.parentId === '' || !ids.has(node.parentId)) show(node, 0);
  return lines;
}

const nodeText = ({ type, label, id, at }: LineageNode): string =>
  `${type.padEnd(10)}  ${instantOf(at).slice(0, 19)}Z  ${label}  ${id}`;
