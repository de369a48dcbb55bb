import type { Command } from 'commander';
import type { RunCommand } from '../context.ts';
import { withClients } from '../rpc/open-backend.ts';
import { decideRequest, sayDecision } from '../session/decide-request.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

/** `kontext deny <request> --reason …`: 0 when it was denied, 1 when the person at the browser allowed it. */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('<request>', 'id, as `kontext requests ls` shows it')
    .requiredOption('--reason <text>', 'what the agent is told')
    .action((id: string, { reason }: { readonly reason: string }) =>
      run({}, (context) => {
        refuseInSession(context);
        return withClients(context, async (clients) => {
          const decided = await decideRequest(context, clients, id, { choose: 'deny', reason });
          return sayDecision(context, decided) ? 1 : 0;
        });
      }),
    );
}
