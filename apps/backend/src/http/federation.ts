import { KontextError } from '@kontext/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Federation, ShownInvitation } from '../login/federation/federation.ts';
import { acceptForms, type Form } from './form.ts';
import { formTargets } from './login.ts';
import { type PageKit, showErrors } from './page-kit.ts';
import { invitationPage } from './pages/login-page.ts';
import { messagePage } from './pages/message-page.ts';
import { allowFormAction } from './security-headers.ts';

/** What the pages need. */
export interface FederationPagesOptions {
  readonly kit: PageKit;
  readonly federation: Federation;
  /** Local mode: an identity provider may live on loopback, by plain http. */
  readonly local: boolean;
}

/**
 * Registers the way back from identity providers, and invitations.
 *
 * - `GET /login/callback/<id>` takes the answer of the one provider with that address (OIDC Core §3.1.2.5).
 * - `POST /login/backchannel/<id>` takes its logout tokens (OIDC Back-Channel Logout 1.0 §2.5).
 * - `GET /invite/<token>` shows an invitation; `POST` (`csrf`, `provider`) goes on to log in with it.
 *
 * Codes, states and tokens stand in URLs here, which are not logged.
 */
export async function registerFederation(
  app: FastifyInstance,
  options: FederationPagesOptions,
): Promise<void> {
  await app.register(async (scope) => registerPages(scope, options));
  await app.register(async (scope) => registerBackchannel(scope, options.federation));
}

async function registerPages(scope: FastifyInstance, { kit, federation, local }: FederationPagesOptions) {
  acceptForms(scope);
  showErrors(scope, kit, 'a login through an identity provider failed');

  scope.get<{ Params: { callbackId: string } }>(
    '/login/callback/:callbackId',
    // A HEAD request would use the login up.
    { exposeHeadRoute: false },
    async (request, reply) => {
      const session = await kit.session(request, reply);
      const { login, returnTo } = await federation.finish({
        callbackId: request.params.callbackId,
        browserId: session.id,
        address: request.ip,
        query: queryOf(request),
      });
      kit.remember(reply, await kit.logIn(session, login));
      return reply.header('cache-control', 'no-store').redirect(returnTo, 303);
    },
  );

  scope.get<{ Params: { token: string } }>('/invite/:token', async (request, reply) => {
    const session = await kit.session(request, reply);
    const { orgName, email, role, providers } = await federation.invitation(request.params.token);
    if (providers.length === 0) return kit.send(reply, noProviderPage(orgName), 409);
    allowFormAction(reply, formTargets(local));
    const { csrf } = session;
    return kit.send(reply, invitationPage({ csrf, action: request.url, orgName, email, role, providers }));
  });

  scope.post<{ Params: { token: string } }>('/invite/:token', async (request, reply) => {
    const session = await kit.session(request, reply);
    const form = kit.form(request, session);
    const invitation = await federation.invitation(request.params.token);
    const target = await federation.begin({
      identityProviderId: chosenProvider(invitation, form),
      browserId: session.id,
      address: request.ip,
      returnTo: '/invited',
      maxAgeSeconds: null,
      invitationId: invitation.id,
    });
    return reply.header('cache-control', 'no-store').redirect(target, 303);
  });

  scope.get('/invited', async (_request, reply) => kit.send(reply, joinedPage));
}

/** Only the organisation's own: an invitation is no way into another one. */
function chosenProvider({ providers }: ShownInvitation, form: Form): string {
  const chosen = providers.find(({ id }) => id === form.get('provider'));
  if (chosen !== undefined) return chosen.id;
  throw new KontextError('KX_REQUEST_INVALID', 'the organisation does not log in that way', {
    hint: 'open the invitation again',
  });
}

async function registerBackchannel(scope: FastifyInstance, { backchannel }: Federation): Promise<void> {
  acceptForms(scope);
  scope.setErrorHandler((err, request, reply) => {
    const isRefusal = err instanceof KontextError && err.spec.rpcCode === 'invalid_argument';
    if (isRefusal) return answer(reply, 400, { error: 'invalid_request', error_description: err.why });
    const isDown = err instanceof KontextError && err.code === 'KX_PROVIDER_UNREACHABLE';
    if (!isDown) request.log.error({ err }, 'a logout token could not be worked on');
    return answer(reply, isDown ? 503 : 500, { error: isDown ? 'temporarily_unavailable' : 'server_error' });
  });
  scope.post<{ Params: { callbackId: string } }>('/login/backchannel/:callbackId', async (request, reply) => {
    const form = request.body instanceof Map ? (request.body as Form) : new Map<string, string>();
    await backchannel.accept(request.params.callbackId, form.get('logout_token') ?? '');
    return answer(reply, 200, {});
  });
}

/** §2.8: nobody may keep the answer. */
const answer = (reply: FastifyReply, status: number, body: Readonly<Record<string, string>>): FastifyReply =>
  reply.code(status).header('cache-control', 'no-store').send(body);

const queryOf = (request: FastifyRequest): string => {
  const at = request.url.indexOf('?');
  return at < 0 ? '' : request.url.slice(at + 1);
};

const joinedPage = messagePage({
  title: 'Welcome',
  text: 'You are a member of the organisation now.',
  next: 'Run `kontext login` in your terminal.',
});

const noProviderPage = (orgName: string) =>
  messagePage({
    title: 'That did not work',
    text: `${orgName} has no identity provider, so nobody can log in with an invitation.`,
    next: 'Ask an administrator.',
  });
