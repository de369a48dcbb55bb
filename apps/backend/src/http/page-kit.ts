import { KontextError } from '@kontext/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  type BrowserAccount,
  type BrowserSession,
  type BrowserSessions,
  type NewBrowserLogin,
  sameText,
} from '../login/browser-sessions.ts';
import { encodeCookie, readCookie } from './cookie.ts';
import type { Form } from './form.ts';
import { type Page, renderPage } from './pages/layout.ts';
import { messagePage } from './pages/message-page.ts';

/** What every server-rendered page needs; pages of other rooms (the connect flow) use it too. */
export interface PageKit {
  /** The browser's session; sets the cookie when the browser has none. */
  session(request: FastifyRequest, reply: FastifyReply): Promise<BrowserSession>;
  /**
   * The person at the browser, or null after the answer was sent: a redirect to the login page, and from there back to
   * this page (of a POST: to its path, without the form).
   *
   * @param maxAgeMs A login that is older has to be repeated; any age when left out.
   */
  requireLogin(
    request: FastifyRequest,
    reply: FastifyReply,
    session: BrowserSession,
    maxAgeMs?: number,
  ): Promise<BrowserAccount | null>;
  /** Logs a person in at this browser; `remember` the session that comes back. */
  logIn(session: BrowserSession, account: NewBrowserLogin): Promise<BrowserSession>;
  /** Sets the cookie of a session, after a login gave the browser another one. */
  remember(reply: FastifyReply, session: BrowserSession): void;
  /**
   * The form of a POST whose origin and CSRF token are right.
   *
   * @throws KontextError `KX_FORBIDDEN` when they are not.
   */
  form(request: FastifyRequest, session: BrowserSession): Form;
  /** Sends a page; status 200 unless said otherwise. */
  send(reply: FastifyReply, page: Page, status?: number): FastifyReply;
}

/**
 * Creates the kit.
 *
 * @param apiUrl Our configured origin; the only one a form may come from.
 */
export function createPageKit(apiUrl: string, sessions: BrowserSessions, nowMs: () => number): PageKit {
  const secure = apiUrl.startsWith('https:');
  const cookieName = secure ? '__Host-kontext_browser' : 'kontext_browser';
  const remember = (reply: FastifyReply, session: BrowserSession): void => {
    reply.header('set-cookie', encodeCookie(cookieName, session.cookie, secure));
  };
  return {
    remember,
    session: async (request, reply) => {
      const session = await sessions.load(readCookie(request.headers.cookie, cookieName));
      if (session.isNew) remember(reply, session);
      return session;
    },
    logIn: (session, account) => sessions.logIn(session, account),
    requireLogin: async (request, reply, session, maxAgeMs = Number.POSITIVE_INFINITY) => {
      const { account } = session;
      if (account && nowMs() - account.loggedInAtMs <= maxAgeMs) return account;
      const maxAge = Number.isFinite(maxAgeMs) ? `&max_age=${Math.floor(maxAgeMs / 1000)}` : '';
      await reply
        .header('cache-control', 'no-store')
        .redirect(`/login?return_to=${encodeURIComponent(request.url)}${maxAge}${hintOf(request.url)}`, 303);
      return null;
    },
    form: (request, session) => {
      const form = request.body instanceof Map ? (request.body as Form) : new Map<string, string>();
      const origin = request.headers.origin;
      const known = !session.isNew && sameText(session.csrf, form.get('csrf') ?? '');
      if (!known || (origin !== undefined && origin !== apiUrl)) {
        throw new KontextError('KX_FORBIDDEN', 'the form did not come from this browser', {
          why: 'its token is missing or old, or it was sent from another site',
          hint: `open ${apiUrl} again, with cookies allowed`,
        });
      }
      return form;
    },
    send: (reply, page, status = 200) =>
      reply
        .code(status)
        .header('cache-control', 'no-store')
        .type('text/html; charset=utf-8')
        .send(renderPage(page)),
  };
}

/** Which organisation a page says the login is for (`kontext login --org`): fills a field in, decides nothing. */
function hintOf(url: string): string {
  const organisation = new URLSearchParams(url.split('?')[1]).get('organisation');
  return organisation === null ? '' : `&organisation=${encodeURIComponent(organisation.slice(0, 254))}`;
}

/**
 * Answers a request of these pages that fails with a page that says why.
 *
 * @param what For the log, where it was our own mistake: what failed.
 */
export function showErrors(scope: FastifyInstance, kit: Pick<PageKit, 'send'>, what: string): void {
  scope.setErrorHandler((err, request, reply) => {
    const { status, page } = errorPage(err);
    if (status >= 500) request.log.error({ err }, what);
    setRetryAfter(reply, err);
    return kit.send(reply, page, status);
  });
}

/** The error page of a failed page request; the text of a foreign error is never shown. */
function errorPage(error: unknown): { readonly status: number; readonly page: Page } {
  const known = error instanceof KontextError ? error : null;
  return {
    status: known ? statusOf(known) : clientStatus(error),
    page: messagePage({
      title: 'That did not work',
      text: known ? `${known.message}: ${known.why} (${known.code})` : 'the request could not be answered',
      next: known?.hint ?? 'go back to your terminal and start again',
    }),
  };
}

/** RFC 9110 §10.2.3: how long to wait, where a limit refused the request. */
function setRetryAfter(reply: FastifyReply, error: unknown): void {
  const wait = error instanceof KontextError ? error.details.retry_after_seconds : undefined;
  if (wait !== undefined) reply.header('retry-after', wait);
}

function statusOf(error: KontextError): number {
  const byRpcCode: Readonly<Record<string, number>> = {
    invalid_argument: 400,
    unauthenticated: 401,
    permission_denied: 403,
    not_found: 404,
    resource_exhausted: 429,
    failed_precondition: 400,
    unavailable: 503,
  };
  return byRpcCode[error.spec.rpcCode] ?? 500;
}

/** Fastify's own errors (body too large, unknown media type) carry a status. */
function clientStatus(error: unknown): number {
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
  return status >= 400 && status < 500 ? status : 500;
}

/**
 * The path to go back to after a login: only a path of ours, never another site.
 *
 * @returns The path with its query, or `/activate`.
 */
export function safeReturnTo(value: string | null | undefined): string {
  // one slash and no backslash: browsers read `//host` and `/\host` as another site
  return value && /^\/(?![/\\])[\x21-\x7e]*$/.test(value) && !value.includes('\\') && value.length <= 2000
    ? value
    : '/activate';
}
