import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { LoginEvent, RecordLogin } from '../login/login-events.ts';
import type { LoopbackApprovals, PendingLoopback } from '../login/loopback-approvals.ts';
import { acceptForms } from './form.ts';
import { interactionPath } from './oauth/provider.ts';
import { type PageKit, showErrors } from './page-kit.ts';
import { disabledPage, undecidedPage } from './pages/message-page.ts';
import { terminalPage } from './pages/terminal-page.ts';
import { allowFormAction } from './security-headers.ts';

/** A login at the browser that is older has to be repeated before a terminal is approved. */
const freshLoginMs = 15 * 60_000;

/** What the pages need. */
export interface AuthorizeOptions {
  readonly kit: PageKit;
  readonly approvals: LoopbackApprovals;
  readonly findMember: (
    userId: string,
  ) => Promise<{ readonly userName: string; readonly orgName: string } | null>;
  readonly recordLogin: RecordLogin;
}

/**
 * Registers the page of the authorization code flow (`kontext login --loopback`): a person logs in, sees which program asks,
 * and decides.
 *
 * - `GET /oauth/interaction/<uid>` shows who asks.
 * - `POST` of the same (`csrf`, `decision` = `approve` or `deny`) decides and leads back to the terminal.
 */
export async function registerAuthorize(app: FastifyInstance, options: AuthorizeOptions): Promise<void> {
  const { kit, approvals } = options;
  await app.register(async (scope) => {
    acceptForms(scope);
    showErrors(scope, kit, 'the page of a loopback login failed');
    const url = `${interactionPath}/:uid`;

    scope.get<{ Params: { uid: string } }>(url, async (request, reply) => {
      const session = await kit.session(request, reply);
      const pending = await approvals.find(exchangeOf(request, reply), request.params.uid);
      const account = await kit.requireLogin(request, reply, session, freshLoginMs);
      if (!account) return reply;
      const member = await options.findMember(account.userId);
      if (!member) return kit.send(reply, disabledPage, 403);
      const target = new URL(pending.redirectUri);
      // Chrome applies `form-action` to the redirect that leads to the terminal.
      allowFormAction(reply, `'self' ${target.origin}`);
      return kit.send(
        reply,
        terminalPage({
          ...pending,
          ...{ csrf: session.csrf, action: `${interactionPath}/${pending.uid}` },
          ...{ address: request.ip, target: target.host },
          ...{ accountName: member.userName, orgName: member.orgName },
        }),
      );
    });

    scope.post<{ Params: { uid: string } }>(url, async (request, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      const account = await kit.requireLogin(request, reply, session, freshLoginMs);
      if (!account) return reply;
      if (!(await options.findMember(account.userId))) return kit.send(reply, disabledPage, 403);
      const decision = form.get('decision');
      if (decision !== 'approve' && decision !== 'deny') return kit.send(reply, undecidedPage, 400);
      const exchange = exchangeOf(request, reply);
      const { uid } = request.params;
      const pending = await approvals.find(exchange, uid);
      const approve = decision === 'approve';
      const next = await approvals.decide(exchange, uid, { approve, account, address: request.ip });
      await options.recordLogin(eventOf(pending, { ...account, address: request.ip, approve }));
      return reply.header('cache-control', 'no-store').redirect(next, 303);
    });
  });
}

const exchangeOf = (request: FastifyRequest, reply: FastifyReply) => ({
  request: request.raw,
  response: reply.raw,
});

interface Decided {
  readonly userId: string;
  readonly orgId: string;
  readonly address: string;
  readonly approve: boolean;
}

const eventOf = (
  { clientId, machine }: PendingLoopback,
  { userId, orgId, address, approve }: Decided,
): LoginEvent => ({
  kind: approve ? 'login.succeeded' : 'login.failed',
  reason: approve ? null : 'denied in the browser',
  ...{ orgId, userId, clientId, machine, address },
});
