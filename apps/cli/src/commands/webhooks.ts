import { KontextError } from '@kontext/errors';
import type { Webhook } from '@kontext/protocol';
import type { Command } from 'commander';
import type { Context, RunCommand } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';
import { withClients } from '../rpc/open-backend.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';

interface AddOptions {
  readonly event?: readonly string[];
  readonly json?: boolean;
}

/** `kontext webhooks add|ls|rm|test` */
export function define(command: Command, run: RunCommand): void {
  command
    .command('add <url>')
    .description('tell a URL of approvals (owner, admin, security)')
    .option('--event <name...>', 'only of these: approval.requested, approval.decided')
    .option('--json', 'as JSON')
    .action((url: string, options: AddOptions) =>
      run({}, (context) => {
        refuseInSession(context);
        return withClients(context, (clients) => add(context, clients, url, options));
      }),
    );
  command
    .command('ls')
    .description('list webhooks')
    .option('--json', 'as JSON')
    .action((options: { readonly json?: boolean }) =>
      run({}, (context) => withClients(context, (clients) => list(context, clients, options.json ?? false))),
    );
  command
    .command('rm <webhook>')
    .description('remove a webhook, with the messages that wait for it')
    .action((webhookId: string) =>
      run({}, (context) => {
        refuseInSession(context);
        return withClients(context, async (clients) => {
          await clients.webhooks.removeWebhook({ webhookId }, { signal: context.signal });
          context.terminal.note(`removed ${webhookId}`);
          return 0;
        });
      }),
    );
  command
    .command('test <webhook>')
    .description('send a message of type `ping`, and say what came back')
    .action((webhookId: string) =>
      run({}, (context) => withClients(context, (clients) => test(context, clients, webhookId))),
    );
}

async function add(
  { terminal, signal }: Context,
  clients: Clients,
  url: string,
  { event = [], json = false }: AddOptions,
): Promise<number> {
  const request = { url, events: [...event] };
  const { webhook, secret } = await clients.webhooks.addWebhook(request, { signal });
  if (webhook === undefined) throw new KontextError('KX_INTERNAL', 'the backend made no webhook');
  if (json) {
    terminal.json({ ...describe(webhook), secret });
    return 0;
  }
  terminal.note(`added ${webhook.id}, for ${webhook.events.join(' and ')}`);
  terminal.say('the signing secret follows; it is shown this once');
  terminal.out(secret);
  return 0;
}

async function list({ terminal, signal }: Context, clients: Clients, json: boolean): Promise<number> {
  const { webhooks } = await clients.webhooks.listWebhooks({}, { signal });
  if (json) {
    terminal.json(webhooks.map(describe));
    return 0;
  }
  if (webhooks.length === 0) terminal.note('there are no webhooks');
  else {
    const rows = webhooks
      .map(describe)
      .map((one) => [
        ...[one.id, one.url, one.events.join(' '), one.disabledAt === null ? 'enabled' : 'disabled'],
        ...[String(one.waiting), one.lastDeliveredAt ?? 'never', one.lastError ?? ''],
      ]);
    terminal.table(['WEBHOOK', 'URL', 'EVENTS', 'STATE', 'WAITING', 'DELIVERED', 'LAST ERROR'], rows);
  }
  return 0;
}

async function test({ terminal, signal }: Context, clients: Clients, webhookId: string): Promise<number> {
  const { status, error } = await clients.webhooks.testWebhook({ webhookId }, { signal });
  if (error === '') terminal.note(`it answered ${status}`);
  else terminal.warn(error);
  return error === '' ? 0 : 1;
}

const describe = (webhook: Webhook) => ({
  id: webhook.id,
  url: webhook.url,
  events: webhook.events,
  waiting: webhook.waiting,
  lastError: webhook.lastError || null,
  createdAt: instant(webhook.createdAt),
  disabledAt: instant(webhook.disabledAt),
  lastDeliveredAt: instant(webhook.lastDeliveredAt),
});

const instant = (at: Webhook['createdAt']): string | null =>
  at === undefined ? null : new Date(Number(at.seconds) * 1000).toISOString();
