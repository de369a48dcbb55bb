import { KontextError } from '@kontext/errors';
import type { Command } from 'commander';
import type { RunCommand } from '../context.ts';
import { withClients } from '../rpc/open-backend.ts';
import { decideRequest, sayDecision } from '../session/decide-request.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

const lifetimes = ['once', 'session', 'hour'] as const;

/** `kontext approve <request>`: 0 when it was allowed, 1 when the person at the browser denied it. */
export function define(command: Command, run: RunCommand): void {
  command
    .argument('<request>', 'id, as `kontext requests ls` shows it')
    .option('--for <lifetime>', 'what to preselect on the page: once, session or hour', 'once')
    .action((id: string, options: { readonly for: string }) =>
      run({}, (context) => {
        refuseInSession(context);
        const choose = checkLifetime(options.for);
        return withClients(context, async (clients) => {
          const decided = await decideRequest(context, clients, id, { choose, reason: '' });
          return sayDecision(context, decided) ? 0 : 1;
        });
      }),
    );
}

function checkLifetime(text: string): (typeof lifetimes)[number] {
  const known = lifetimes.find((lifetime) => lifetime === text);
  if (known !== undefined) return known;
  throw new KontextError('KX_USAGE', `--for is one of ${lifetimes.join(', ')}`);
}
