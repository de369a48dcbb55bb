import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type BrowserSession, browserLoginSeconds, passcodeAcr } from '../login/browser-sessions.ts';
import type { Federation } from '../login/federation/federation.ts';
import type { LocalLogins } from '../login/local-login.ts';
import { acceptForms, type Form } from './form.ts';
import { type PageKit, safeReturnTo, showErrors } from './page-kit.ts';
import { pageCss } from './pages/layout.ts';
import { chooseProviderPage, type LoginFields, type LoginPageInput, loginPage } from './pages/login-page.ts';
import { messagePage } from './pages/message-page.ts';
import { allowFormAction } from './security-headers.ts';

/** What the login page works with. */
export interface LoginOptions {
  readonly kit: PageKit;
  /** Null outside local mode: there are no passcodes then. */
  readonly locals: LocalLogins | null;
  /** Identity providers of organisations; null: none can be used. */
  readonly federation: Pick<Federation, 'only' | 'exists' | 'find' | 'begin'> | null;
  /** Local mode: an identity provider may live on loopback, by plain http. */
  readonly local: boolean;
}

/** Says where the browser is sent back to after a login, and how fresh the login has to be. */
interface LoginQuery {
  readonly return_to?: string | string[];
  readonly max_age?: string | string[];
  /** Fills the field of the organisation in. */
  readonly organisation?: string | string[];
}

/**
 * Registers the login page and the pages' style sheet. Every form carries `csrf`, `return_to` and `max_age` (seconds).
 *
 * - `GET /login` shows the ways to log in; nothing happens by itself.
 * - `POST /login` (`account`, `passcode`): a local account.
 * - `POST /login/organisation` (`organisation`: short name, e-mail address or domain) and `POST /login/provider` (`provider`):
 *   on to an identity provider, see `federation.ts` for the way back.
 */
export async function registerLogin(app: FastifyInstance, options: LoginOptions): Promise<void> {
  const { kit } = options;
  app.get('/assets/page.css', async (_request, reply) =>
    reply.header('cache-control', 'public, max-age=3600').type('text/css; charset=utf-8').send(pageCss),
  );

  await app.register(async (scope) => {
    acceptForms(scope);
    showErrors(scope, kit, 'the login page failed');

    scope.get<{ Querystring: LoginQuery }>('/login', async (request, reply) => {
      const session = await kit.session(request, reply);
      const { return_to, max_age, organisation } = request.query;
      const fields = fieldsOf(session, firstText(return_to), firstText(max_age));
      return show(options, reply, { ...fields, organisation: (firstText(organisation) ?? '').slice(0, 254) });
    });

    scope.post('/login', async (request, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      return logInLocally(options, reply, session, form);
    });

    scope.post('/login/organisation', async (request, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      const fields = fieldsOf(session, form.get('return_to'), form.get('max_age'));
      const organisation = (form.get('organisation') ?? '').trim().slice(0, 254);
      const found = (await options.federation?.find(organisation, request.ip)) ?? [];
      const [first] = found;
      if (first === undefined) {
        const error = 'no organisation of that name or e-mail domain logs in here';
        return show(options, reply, { ...fields, organisation, error }, 404);
      }
      if (found.length === 1) return goOn(options, request, reply, session, fields, first.id);
      allowFormAction(reply, formTargets(options.local));
      return kit.send(reply, chooseProviderPage({ ...fields, providers: found }));
    });

    scope.post('/login/provider', async (request, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      const fields = fieldsOf(session, form.get('return_to'), form.get('max_age'));
      return goOn(options, request, reply, session, fields, form.get('provider') ?? '');
    });
  });
}

/** Chrome applies `form-action` to the redirects of a form, and those of an identity provider may lead anywhere. */
export const formTargets = (local: boolean): string =>
  `'self' https:${local ? ' http://127.0.0.1:* http://localhost:*' : ''}`;

/** Shows the login page with what this backend offers. */
async function show(
  { kit, locals, federation, local }: LoginOptions,
  reply: FastifyReply,
  input: LoginFields & Partial<Pick<LoginPageInput, 'account' | 'organisation' | 'error'>>,
  status = 200,
): Promise<FastifyReply> {
  const organisations = (await federation?.exists()) ?? false;
  if (!locals && !organisations) return kit.send(reply, noLoginPage, 403);
  const only = organisations && !locals && federation ? await federation.only() : null;
  if (organisations) allowFormAction(reply, formTargets(local));
  const given = { account: '', organisation: '', error: null, ...input };
  return kit.send(reply, loginPage({ ...given, passcodes: locals !== null, organisations, only }), status);
}

async function logInLocally(
  options: LoginOptions,
  reply: FastifyReply,
  session: BrowserSession,
  form: Form,
): Promise<FastifyReply> {
  const { kit, locals } = options;
  const fields = fieldsOf(session, form.get('return_to'), form.get('max_age'));
  const account = (form.get('account') ?? '').trim().slice(0, 100);
  if (!locals) return kit.send(reply, noLoginPage, 403);
  const login = await locals.logIn(account, (form.get('passcode') ?? '').slice(0, 100));
  if (login.ok) {
    const { userId, orgId } = login;
    const who = { userId, orgId, acr: passcodeAcr, identityProviderId: null, upstreamSid: null };
    kit.remember(reply, await kit.logIn(session, who));
    return reply.header('cache-control', 'no-store').redirect(fields.returnTo, 303);
  }
  const { retryAfterSeconds } = login;
  if (retryAfterSeconds === null)
    return show(options, reply, { ...fields, account, error: 'account or passcode is wrong' }, 401);
  reply.header('retry-after', retryAfterSeconds);
  const error = `too many wrong passcodes; wait ${Math.ceil(retryAfterSeconds / 60)} min`;
  return show(options, reply, { ...fields, account, error }, 429);
}

/** Sends the browser to an identity provider. */
async function goOn(
  { kit, federation }: LoginOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  session: BrowserSession,
  { returnTo, maxAge }: LoginFields,
  identityProviderId: string,
): Promise<FastifyReply> {
  if (federation === null) return kit.send(reply, noLoginPage, 403);
  const target = await federation.begin({
    ...{ identityProviderId, returnTo, browserId: session.id, address: request.ip, invitationId: null },
    maxAgeSeconds: maxAge === '' ? null : Number(maxAge),
  });
  return reply.header('cache-control', 'no-store').redirect(target, 303);
}

function fieldsOf(
  { csrf }: BrowserSession,
  returnTo: string | null | undefined,
  maxAge: string | null | undefined,
): LoginFields {
  const seconds = /^\d{1,6}$/.test(maxAge ?? '') ? Math.min(Number(maxAge), browserLoginSeconds) : null;
  return { csrf, returnTo: safeReturnTo(returnTo), maxAge: seconds === null ? '' : String(seconds) };
}

const noLoginPage = messagePage({
  title: 'Nobody can log in here yet',
  text: 'This backend is not in local mode, and no organisation has an identity provider yet.',
  next: 'Its operator adds the first one with `kontext-backend idp add`; docs/login.md says how.',
});

/** A query parameter that was given twice counts as absent. */
export const firstText = (value: string | string[] | undefined): string | null =>
  typeof value === 'string' ? value : null;
