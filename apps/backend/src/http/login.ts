import type { FastifyInstance } from 'fastify';
import { passcodeAcr } from '../login/browser-sessions.ts';
import type { LocalLogins } from '../login/local-login.ts';
import { acceptForms } from './form.ts';
import { errorPage, type PageKit, safeReturnTo } from './page-kit.ts';
import { pageCss } from './pages/layout.ts';
import { loginPage } from './pages/login-page.ts';
import { messagePage } from './pages/message-page.ts';

/**
 * Registers `/login` (fields `csrf`, `return_to`, `account`, `passcode`) and the pages' style sheet.
 *
 * @param logins Null outside local mode: there are no passcodes then.
 */
export async function registerLogin(
  app: FastifyInstance,
  kit: PageKit,
  logins: LocalLogins | null,
): Promise<void> {
  app.get('/assets/page.css', async (_request, reply) =>
    reply.header('cache-control', 'public, max-age=3600').type('text/css; charset=utf-8').send(pageCss),
  );

  await app.register(async (scope) => {
    acceptForms(scope);
    scope.setErrorHandler((err, request, reply) => {
      const { status, page } = errorPage(err);
      if (status >= 500) request.log.error({ err }, 'the login page failed');
      return kit.send(reply, page, status);
    });

    scope.get<{ Querystring: { return_to?: string | string[] } }>('/login', async (request, reply) => {
      const session = await kit.session(request, reply);
      if (!logins) return kit.send(reply, noLoginPage, 403);
      const returnTo = safeReturnTo(firstText(request.query.return_to));
      return kit.send(reply, loginPage({ csrf: session.csrf, returnTo, account: '', error: null }));
    });

    scope.post('/login', async (request, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      const returnTo = safeReturnTo(form.get('return_to'));
      const account = (form.get('account') ?? '').trim().slice(0, 100);
      const again = (error: string, status: number) =>
        kit.send(reply, loginPage({ csrf: session.csrf, returnTo, account, error }), status);
      if (!logins) return kit.send(reply, noLoginPage, 403);
      const login = await logins.logIn(account, (form.get('passcode') ?? '').slice(0, 100));
      if (login.ok) {
        const { userId, orgId } = login;
        const account = { userId, orgId, acr: passcodeAcr, identityProviderId: null, upstreamSid: null };
        kit.remember(reply, await kit.logIn(session, account));
        return reply.header('cache-control', 'no-store').redirect(returnTo, 303);
      }
      if (login.retryAfterSeconds === null) return again('account or passcode is wrong', 401);
      reply.header('retry-after', login.retryAfterSeconds);
      return again(`too many wrong passcodes; wait ${Math.ceil(login.retryAfterSeconds / 60)} min`, 429);
    });
  });
}

const noLoginPage = messagePage({
  title: 'Nobody can log in here yet',
  text: 'This backend is not in local mode, and logging in through an identity provider is not built yet.',
  next: 'Local mode (KONTEXT_LOCAL=1) has accounts of its own; it listens on loopback only.',
});

/** A query parameter that was given twice counts as absent. */
export const firstText = (value: string | string[] | undefined): string | null =>
  typeof value === 'string' ? value : null;
