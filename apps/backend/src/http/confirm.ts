import { KontextError } from '@kontext/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { BrowserAccount, BrowserSession } from '../login/browser-sessions.ts';
import type { Confirmations } from '../login/confirmations.ts';
import { freshLoginSeconds } from '../login/fresh-login.ts';
import { confirmationsOpened, type RateLimiter, refuseBeyond } from '../login/rate-limiter.ts';
import { acceptForms } from './form.ts';
import { type PageKit, showErrors } from './page-kit.ts';
import { confirmPage } from './pages/confirm-page.ts';
import { messagePage } from './pages/message-page.ts';

/** What the pages need. */
export interface ConfirmPagesOptions {
  readonly kit: PageKit;
  readonly confirmations: Confirmations;
  readonly limiter: RateLimiter;
  readonly findMember: (
    userId: string,
  ) => Promise<{ readonly userName: string; readonly orgName: string } | null>;
}

type LinkRequest = FastifyRequest<{ Params: { token: string } }>;

/** A link's secret part: 32 random bytes. Anything else is not looked up. */
const tokenPattern = /^[A-Za-z0-9_-]{43}$/;

/**
 * Registers the pages where a person confirms an action (RFC 9470), with a login at this browser of at most five minutes:
 * whoever has an older one logs in again first.
 *
 * - `GET /confirm/<token>` shows who asks for what; nothing is ever sent by itself.
 * - `POST /confirm/<token>` (`csrf`, `decision` = `confirm` or `deny`) decides, once.
 *
 * Somebody else's link looks like one that does not exist.
 */
export async function registerConfirm(app: FastifyInstance, options: ConfirmPagesOptions): Promise<void> {
  const { kit, confirmations } = options;
  await app.register(async (scope) => {
    acceptForms(scope);
    showErrors(scope, kit, 'the confirmation page failed');

    scope.get('/confirm/:token', async (request: LinkRequest, reply) => {
      const visitor = await findOpener(options, request, reply);
      if (visitor === null) return reply;
      const shown = await confirmations.show(visitor.account, checkToken(request.params.token));
      if (shown.state !== 'pending') return kit.send(reply, donePages[shown.state], 400);
      const { summary, machine, address, ageSeconds, action: method } = shown;
      const { userName: accountName, orgName } = visitor.member;
      const facts = { summary, machine, address, ageSeconds, method, accountName, orgName };
      return kit.send(reply, confirmPage({ ...facts, csrf: visitor.session.csrf, action: request.url }));
    });

    scope.post('/confirm/:token', async (request: LinkRequest, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      const visitor = await findOpener(options, request, reply, session);
      if (visitor === null) return reply;
      const decision = form.get('decision');
      if (decision !== 'confirm' && decision !== 'deny') return kit.send(reply, undecidedPage, 400);
      const state = decision === 'confirm' ? 'confirmed' : 'denied';
      await confirmations.decide(visitor.account, checkToken(request.params.token), state, request.ip);
      return kit.send(reply, donePages[state]);
    });
  });
}

interface Visitor {
  readonly session: BrowserSession;
  readonly account: BrowserAccount;
  readonly member: { readonly userName: string; readonly orgName: string };
}

/** The person at the browser, freshly logged in; null after they were sent to the login page. */
async function findOpener(
  { kit, limiter, findMember }: ConfirmPagesOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  known?: BrowserSession,
): Promise<Visitor | null> {
  const session = known ?? (await kit.session(request, reply));
  const account = await kit.requireLogin(request, reply, session, freshLoginSeconds * 1000);
  if (account === null) return null;
  refuseBeyond(
    await limiter.count(confirmationsOpened, account.userId),
    'too many confirmations were opened',
  );
  const member = await findMember(account.userId);
  if (member === null) throw new KontextError('KX_FORBIDDEN', 'this account may not log in');
  return { session, account, member };
}

function checkToken(token: string): string {
  if (tokenPattern.test(token)) return token;
  throw new KontextError('KX_NOT_FOUND', 'there is no such confirmation, or it is not yours');
}

const donePages = {
  confirmed: messagePage({
    title: 'Confirmed',
    text: 'Return to your terminal: it goes on now.',
    next: 'You can close this page.',
  }),
  denied: messagePage({
    title: 'Denied',
    text: 'Nothing was done.',
    next: 'If you did not start this yourself, look at what runs in your terminals: something asked in your name.',
  }),
  decided: messagePage({
    title: 'That did not work',
    text: 'This was decided before.',
    next: 'Run the command again to be asked anew.',
  }),
  expired: messagePage({
    title: 'That did not work',
    text: 'This was asked more than 10 minutes ago.',
    next: 'Run the command again to be asked anew.',
  }),
};
const undecidedPage = messagePage({
  title: 'That did not work',
  text: 'Neither confirm nor deny was chosen.',
  next: 'Go back and choose one.',
});
