import { isId } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type {
  ApprovalService,
  NamedApproval,
  ShownApproval,
  Verdict,
} from '../approvals/approval-service.ts';
import { describeCall } from '../approvals/describe-call.ts';
import type { BrowserAccount, BrowserSession } from '../login/browser-sessions.ts';
import { freshLoginSeconds } from '../login/fresh-login.ts';
import { confirmationsOpened, type RateLimiter, refuseBeyond } from '../login/rate-limiter.ts';
import { acceptForms } from './form.ts';
import { firstText } from './login.ts';
import { type PageKit, showErrors } from './page-kit.ts';
import { type ApprovalFacts, approvalPage } from './pages/approval-page.ts';
import type { Page } from './pages/layout.ts';
import { messagePage } from './pages/message-page.ts';

/** What the pages need. */
export interface ApprovalPagesOptions {
  readonly kit: PageKit;
  readonly approvals: Pick<ApprovalService, 'show' | 'decide'>;
  readonly limiter: RateLimiter;
  readonly nowMs: () => number;
}

interface PageRoute {
  Params: { id: string };
  Querystring: { choose?: string | string[]; reason?: string | string[] };
}
type PageRequest = FastifyRequest<PageRoute>;

const verdicts: readonly Verdict[] = ['once', 'session', 'hour', 'deny'];
const verdictOf = (text: string | null | undefined): Verdict | null =>
  verdicts.find((verdict) => verdict === text) ?? null;

/**
 * Registers the page where a person decides about a tool call, with a login at this browser of at most five minutes: whoever
 * has an older one logs in again first.
 *
 * - `GET /approvals/<apr_…>[?choose=once|session|hour|deny][&reason=…]` shows who wants what and why. The query marks a button and
 *   fills the reason in, as `kontext approve` and `kontext deny` do; nothing is ever sent by itself.
 * - `POST /approvals/<apr_…>` (`csrf`, `decision`, `reason`) decides, once.
 *
 * To whoever may not decide it, a request looks like one that does not exist.
 */
export async function registerApprovals(app: FastifyInstance, options: ApprovalPagesOptions): Promise<void> {
  const { kit, approvals, nowMs } = options;
  await app.register(async (scope) => {
    acceptForms(scope);
    showErrors(scope, kit, 'the page of an approval failed');

    scope.get('/approvals/:id', async (request: PageRequest, reply) => {
      const visitor = await findVisitor(options, request, reply);
      if (visitor === null) return reply;
      const id = checkId(request.params.id);
      const shown = await approvals.show(visitor.account, id);
      if (shown.state !== 'pending') return kit.send(reply, overPage(shown), 400);
      const facts = {
        ...factsOf(shown, nowMs()),
        ...{ csrf: visitor.session.csrf, action: `/approvals/${id}` },
        preselected: verdictOf(firstText(request.query.choose)),
        givenReason: firstText(request.query.reason) ?? '',
      };
      return kit.send(reply, approvalPage(facts));
    });

    scope.post('/approvals/:id', async (request: PageRequest, reply) => {
      const session = await kit.session(request, reply);
      const form = kit.form(request, session);
      const visitor = await findVisitor(options, request, reply, session);
      if (visitor === null) return reply;
      const id = checkId(request.params.id);
      const verdict = verdictOf(form.get('decision'));
      if (verdict === null) return kit.send(reply, undecidedPage, 400);
      await approvals.decide(visitor.account, id, verdict, form.get('reason') ?? '');
      return kit.send(reply, donePages[verdict]);
    });
  });
}

interface Visitor {
  readonly session: BrowserSession;
  readonly account: BrowserAccount;
}

/** The person at the browser, freshly logged in; null after they were sent to the login page. */
async function findVisitor(
  { kit, limiter }: ApprovalPagesOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  known?: BrowserSession,
): Promise<Visitor | null> {
  const session = known ?? (await kit.session(request, reply));
  const account = await kit.requireLogin(request, reply, session, freshLoginSeconds * 1000);
  if (account === null) return null;
  refuseBeyond(await limiter.count(confirmationsOpened, account.userId), 'too many approvals were opened');
  return { session, account };
}

type CallFacts = Omit<ApprovalFacts, 'csrf' | 'action' | 'preselected' | 'givenReason'>;

function factsOf(shown: ShownApproval, nowMs: number): CallFacts {
  const { approval, userName, viewerName, orgName, before } = shown;
  const { agent, hostname: machine, sessionId: session, part, rule, policyVersion } = approval;
  const { reason, approver, fourEyes, tool } = approval;
  const { call, about, isWhole, shape } = describeCall(approval.call);
  const secondsSince = (at: Date) => Math.max(0, Math.floor((nowMs - at.getTime()) / 1000));
  return {
    ...{ agent, machine, session, part, rule, policyVersion, reason, approver, fourEyes, tool },
    ...{ call, about, userName, viewerName, orgName },
    clipped: approval.callClipped || !isWhole,
    // Of a shortened call the kind may be another than the one that was asked about.
    shape: approval.callClipped ? null : shape,
    ageSeconds: secondsSince(approval.createdAt),
    leftSeconds: Math.max(0, (approval.expiresAt.getTime() - nowMs) / 1000),
    before: before.map(({ approval: earlier, deciderName }: NamedApproval) => ({
      ...{ state: earlier.state, lifetime: earlier.lifetime, reason: earlier.decisionReason },
      deciderName: deciderName ?? 'somebody',
      ageSeconds: secondsSince(earlier.decidedAt ?? earlier.createdAt),
    })),
  };
}

function checkId(id: string): string {
  if (isId('apr', id)) return id;
  throw new KontextError('KX_NOT_FOUND', 'there is no such request, or it is not yours to decide');
}

const allowed = (text: string): Page =>
  messagePage({ title: 'Allowed', text, next: 'The agent goes on by itself. You can close this page.' });

const donePages: Readonly<Record<Verdict, Page>> = {
  once: allowed('This call may run, one time.'),
  hour: allowed('This call may run with these arguments for one hour, while its session lives.'),
  session: allowed('Calls of this kind may run until the session ends.'),
  deny: messagePage({
    title: 'Denied',
    text: 'The call does not run. The agent is told so, with your reason.',
    next: 'You can close this page.',
  }),
};

function overPage({ approval, deciderName, state }: ShownApproval): Page {
  const decision = approval.decidedAt === null ? null : (deciderName ?? 'somebody');
  const text =
    decision === null
      ? 'Nobody decided within 15 minutes, or its session ended.'
      : `${decision} decided this before: ${state === 'denied' ? 'denied' : 'allowed'}.`;
  return messagePage({
    title: 'There is nothing to decide',
    text,
    next: 'When the agent tries again, a new request is made where one is needed.',
  });
}

const undecidedPage = messagePage({
  title: 'That did not work',
  text: 'None of the buttons was chosen.',
  next: 'Go back and choose one.',
});
