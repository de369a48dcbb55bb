import { KontextError } from '@kontext/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { CallbackQuery, ConnectFlow, Opener } from '../connections/connect-flow.ts';
import { acceptForms } from './form.ts';
import { firstText } from './login.ts';
import { type PageKit, showErrors } from './page-kit.ts';
import { connectPage } from './pages/connect-page.ts';
import { messagePage } from './pages/message-page.ts';
import { allowFormAction } from './security-headers.ts';

/** What the pages need. */
export interface ConnectPagesOptions {
  readonly kit: PageKit;
  readonly flow: ConnectFlow;
  /** Local mode: a provider may live on loopback, by plain http. */
  readonly local: boolean;
}

/** A link's secret part: 32 random bytes. Anything else is not looked up. */
const ticketPattern = /^[A-Za-z0-9_-]{43}$/;

/**
 * Registers the pages that connect an OAuth provider. A person logs in first, as the one the link was made for.
 *
 * - `GET /connect/<ticket>` shows where they will be sent; nothing happens yet, so a preview of the link harms nothing.
 * - `POST /connect/<ticket>` (`csrf`) binds the link to this browser and redirects to the provider.
 * - `GET /connect/callback/<id>` takes the provider's answer. Codes and state stand in its URL, which is not logged.
 */
export async function registerConnectPages(
  app: FastifyInstance,
  options: ConnectPagesOptions,
): Promise<void> {
  const { kit, flow } = options;
  await app.register(async (scope) => {
    acceptForms(scope);
    showErrors(scope, kit, 'a connect page failed');

    scope.get<{ Params: { ticket: string } }>('/connect/:ticket', async (request, reply) => {
      const visitor = await findOpener(kit, request, reply);
      if (visitor === null) return reply;
      const facts = await flow.show(visitor.opener, checkTicket(request.params.ticket));
      // Chrome applies `form-action` to the redirects of a form, and those of a provider may lead anywhere.
      const loopback = options.local ? ' http://127.0.0.1:* http://localhost:*' : '';
      allowFormAction(reply, `'self' https:${loopback}`);
      return kit.send(reply, connectPage({ ...facts, csrf: visitor.csrf, action: request.url }));
    });

    scope.post<{ Params: { ticket: string } }>('/connect/:ticket', async (request, reply) => {
      const visitor = await findOpener(kit, request, reply);
      if (visitor === null) return reply;
      kit.form(request, visitor.session);
      const target = await flow.open(visitor.opener, checkTicket(request.params.ticket));
      return reply.header('cache-control', 'no-store').redirect(target, 303);
    });

    scope.get<{ Params: { callbackId: string }; Querystring: Record<string, string | string[]> }>(
      '/connect/callback/:callbackId',
      // A HEAD request would use the link up.
      { exposeHeadRoute: false },
      async (request, reply) => {
        const session = await kit.session(request, reply);
        // Not sent to the login page: its address would then hold the code.
        if (session.account === null) throw notLoggedIn();
        const opener = { ...session.account, browserId: session.id };
        const { provider } = await flow.finish(opener, request.params.callbackId, readQuery(request.query));
        return kit.send(reply, connectedPage(provider));
      },
    );
  });
}

/** The person at the browser; null after they were sent to the login page. */
async function findOpener(kit: PageKit, request: FastifyRequest, reply: FastifyReply) {
  const session = await kit.session(request, reply);
  const account = await kit.requireLogin(request, reply, session);
  if (account === null) return null;
  const opener: Opener = { userId: account.userId, orgId: account.orgId, browserId: session.id };
  return { session, csrf: session.csrf, opener };
}

function checkTicket(ticket: string): string {
  if (ticketPattern.test(ticket)) return ticket;
  throw new KontextError('KX_CONNECT_LINK_EXPIRED', 'this connect link does not work', {
    why: 'it is not complete',
  });
}

/** RFC 6749 §3.1: a parameter without a value, or one that stands there twice, counts as missing. */
function readQuery(query: Readonly<Record<string, string | string[] | undefined>>): CallbackQuery {
  const one = (name: string) => firstText(query[name]) || null;
  return { state: one('state'), code: one('code'), error: one('error') };
}

const connectedPage = (provider: string) =>
  messagePage({
    title: 'Connected',
    text: `${provider} is connected. Return to your terminal.`,
    next: 'You can close this page.',
  });

const notLoggedIn = (): KontextError =>
  new KontextError('KX_CONNECT_LINK_EXPIRED', 'this connect link does not work', {
    why: 'nobody is logged in at this browser any more',
  });
