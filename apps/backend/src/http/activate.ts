import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { BrowserAccount, BrowserSession } from '../login/browser-sessions.ts';
import type { DeviceApprovals, DeviceLookup } from '../login/device-approvals.ts';
import type { RecordLogin } from '../login/login-events.ts';
import { type RateLimiter, wrongUserCode } from '../login/rate-limiter.ts';
import { acceptForms } from './form.ts';
import { firstText } from './login.ts';
import { type PageKit, showErrors } from './page-kit.ts';
import { approvalPage, codePage } from './pages/device-pages.ts';
import { disabledPage, messagePage, undecidedPage } from './pages/message-page.ts';

/** A login at the browser that is older has to be repeated before a terminal is approved. */
const freshLoginMs = 15 * 60_000;

/** What the approval pages need. */
export interface ActivateOptions {
  readonly kit: PageKit;
  readonly approvals: DeviceApprovals;
  readonly limiter: RateLimiter;
  readonly findMember: (
    userId: string,
  ) => Promise<{ readonly userName: string; readonly orgName: string } | null>;
  readonly recordLogin: RecordLogin;
}

const messages: Readonly<Record<Exclude<DeviceLookup['state'], 'pending'>, string>> = {
  unknown: 'that code is not known; compare it with your terminal',
  expired: 'that code has expired; run `kontext login` again',
  decided: 'that code was used already; run `kontext login` again',
};

/**
 * Registers the approval pages (identity.md §2). A person logs in first, then enters the code, then decides:
 *
 * - `GET /activate[?user_code=…]` shows the form; the code is only filled in, never sent by itself.
 * - `POST /activate` (`csrf`, `user_code`) shows who asks.
 * - `POST /activate/decision` (`csrf`, `user_code`, `decision` = `approve` or `deny`) decides.
 *
 * Five wrong codes of one browser or one address within 10 minutes, and every further try gets 429.
 */
export async function registerActivate(app: FastifyInstance, options: ActivateOptions): Promise<void> {
  const { kit, approvals } = options;
  await app.register(async (scope) => {
    acceptForms(scope);
    showErrors(scope, kit, 'the approval page failed');

    scope.get<{ Querystring: { user_code?: string | string[] } }>('/activate', async (request, reply) => {
      const session = await kit.session(request, reply);
      if (!(await kit.requireLogin(request, reply, session, freshLoginMs))) return reply;
      const userCode = (firstText(request.query.user_code) ?? '').slice(0, 20);
      return kit.send(reply, codePage({ csrf: session.csrf, userCode, error: null }));
    });

    scope.post('/activate', async (request, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      const account = await kit.requireLogin(request, reply, session, freshLoginMs);
      if (!account) return reply;
      const member = await options.findMember(account.userId);
      if (!member) return kit.send(reply, disabledPage, 403);
      if (await refuseGuesser(options, request, reply, session)) return reply;
      const found = await approvals.find(form.get('user_code') ?? '');
      if (found.state !== 'pending') return refuseCode(options, reply, session, found.state);
      await forgiveGuess(options, request, session);
      const { csrf } = session;
      const facts = { csrf, ...found.device, accountName: member.userName, orgName: member.orgName };
      return kit.send(reply, approvalPage(facts));
    });

    // Where the login page leads back to when the login grew old before the decision.
    scope.get('/activate/decision', async (_request, reply) => reply.redirect('/activate', 303));

    scope.post('/activate/decision', async (request, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      const account = await kit.requireLogin(request, reply, session, freshLoginMs);
      if (!account) return reply;
      if (!(await options.findMember(account.userId))) return kit.send(reply, disabledPage, 403);
      const decision = form.get('decision');
      if (decision !== 'approve' && decision !== 'deny') return kit.send(reply, undecidedPage, 400);
      if (await refuseGuesser(options, request, reply, session)) return reply;
      return decide(options, request, reply, {
        session,
        account,
        userCode: form.get('user_code') ?? '',
        decision,
      });
    });
  });
}

interface Decision {
  readonly session: BrowserSession;
  readonly account: BrowserAccount;
  readonly userCode: string;
  readonly decision: 'approve' | 'deny';
}

async function decide(
  options: ActivateOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  input: Decision,
) {
  const { session, account, userCode } = input;
  const approve = input.decision === 'approve';
  const result = await options.approvals.decide(userCode, approve, account);
  if (result.state !== 'done') return refuseCode(options, reply, session, result.state);
  await forgiveGuess(options, request, session);
  await options.recordLogin({
    kind: approve ? 'login.succeeded' : 'login.failed',
    orgId: account.orgId,
    userId: account.userId,
    clientId: result.device.clientId,
    machine: result.device.machine,
    address: result.device.address,
    reason: approve ? null : 'denied on the approval page',
  });
  return options.kit.send(reply, approve ? approvedPage : deniedPage);
}

const subjects = (request: FastifyRequest, session: BrowserSession): readonly string[] => [
  `browser:${session.id}`,
  `address:${request.ip}`,
];

/** Counts a guess before it is looked at: of many that come at once no more than the limit are. */
async function refuseGuesser(
  { kit, limiter }: ActivateOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  session: BrowserSession,
): Promise<boolean> {
  for (const subject of subjects(request, session)) {
    const verdict = await limiter.count(wrongUserCode, subject);
    if (verdict.allowed) continue;
    const text = `too many wrong codes; wait ${Math.ceil(verdict.retryAfterSeconds / 60)} min`;
    reply.header('retry-after', verdict.retryAfterSeconds);
    await kit.send(
      reply,
      messagePage({ title: 'That did not work', text, next: 'then enter the code your terminal shows' }),
      429,
    );
    return true;
  }
  return false;
}

/** The code was right. */
async function forgiveGuess(
  { limiter }: ActivateOptions,
  request: FastifyRequest,
  session: BrowserSession,
): Promise<void> {
  for (const subject of subjects(request, session)) await limiter.giveBack(wrongUserCode, subject);
}

async function refuseCode(
  { kit }: ActivateOptions,
  reply: FastifyReply,
  session: BrowserSession,
  state: Exclude<DeviceLookup['state'], 'pending'>,
): Promise<FastifyReply> {
  return kit.send(reply, codePage({ csrf: session.csrf, userCode: '', error: messages[state] }), 400);
}

const approvedPage = messagePage({
  title: 'Approved',
  text: 'Return to your terminal: it is logged in now.',
  next: 'You can close this page.',
});
const deniedPage = messagePage({
  title: 'Denied',
  text: 'The terminal was not logged in.',
  next: 'If you did not start this, nothing else is to be done.',
});
