import type { DescService } from '@bufbuild/protobuf';
import { type CallOptions, type Client, createClient, type Transport } from '@connectrpc/connect';
import { KontextError } from '@kontext/errors';
import {
  AgentService,
  ApprovalService,
  AuditService,
  ConfirmationService,
  ConnectionService,
  CredentialService,
  IdentityProviderService,
  LoginService,
  OrganisationService,
  PolicyService,
  ProviderService,
  SessionService,
  SinkService,
  WebhookService,
} from '@kontext/protocol';
import { type ConfirmAction, confirmationHeader, type PendingAction } from './confirm-action.ts';
import { rpcError } from './rpc-error.ts';

/** One client per service of the backend. */
export interface Clients {
  readonly agents: Client<typeof AgentService>;
  readonly approvals: Client<typeof ApprovalService>;
  readonly audit: Client<typeof AuditService>;
  readonly confirmations: Client<typeof ConfirmationService>;
  readonly connections: Client<typeof ConnectionService>;
  readonly credentials: Client<typeof CredentialService>;
  readonly identityProviders: Client<typeof IdentityProviderService>;
  readonly logins: Client<typeof LoginService>;
  readonly organisation: Client<typeof OrganisationService>;
  readonly policies: Client<typeof PolicyService>;
  readonly providers: Client<typeof ProviderService>;
  readonly sessions: Client<typeof SessionService>;
  readonly webhooks: Client<typeof WebhookService>;
  readonly sinks: Client<typeof SinkService>;
}

/**
 * Makes the clients over a transport: HTTP in production, a router in memory in tests.
 *
 * @param explain Turns what a call failed with into the error that is thrown.
 * @param confirm Asks a person when the backend wants an action confirmed; the same request then goes out again. Left out:
 *   the refusal is thrown.
 */
export function createClients(
  transport: Transport,
  explain: (error: unknown) => Error = (error) => rpcError(error, 'http://localhost'),
  confirm?: ConfirmAction,
): Clients {
  const make = <T extends DescService>(service: T) =>
    explained(createClient(service, transport), { explain, confirm, look });
  const confirmations = createClient(ConfirmationService, transport);
  const look: PendingAction['look'] = async (confirmationId, signal) => {
    try {
      return await confirmations.getConfirmation({ confirmationId }, signal ? { signal } : {});
    } catch (error) {
      throw explain(error);
    }
  };
  return {
    agents: make(AgentService),
    approvals: make(ApprovalService),
    audit: make(AuditService),
    confirmations: make(ConfirmationService),
    connections: make(ConnectionService),
    credentials: make(CredentialService),
    identityProviders: make(IdentityProviderService),
    logins: make(LoginService),
    organisation: make(OrganisationService),
    policies: make(PolicyService),
    providers: make(ProviderService),
    sessions: make(SessionService),
    webhooks: make(WebhookService),
    sinks: make(SinkService),
  };
}

/** What is done about a call that fails. */
interface Care {
  readonly explain: (error: unknown) => Error;
  readonly confirm: ConfirmAction | undefined;
  readonly look: PendingAction['look'];
}

type Method = (request: unknown, options?: CallOptions) => Promise<unknown> | AsyncIterable<unknown>;

/** The same client with its errors explained. An interceptor cannot: Connect wraps whatever it throws. */
function explained<T extends object>(client: T, care: Care): T {
  return new Proxy(client, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== 'function') return method;
      const call: Method = (request, options) => method.call(target, request, options);
      return (request: unknown, options?: CallOptions) => {
        const answer = call(request, options);
        return Symbol.asyncIterator in answer
          ? explainStream(answer, care.explain)
          : explainAnswer(answer, care, call, request, options);
      };
    },
  });
}

async function explainAnswer(
  answer: Promise<unknown>,
  care: Care,
  call: Method,
  request: unknown,
  options: CallOptions = {},
): Promise<unknown> {
  const { explain, confirm, look } = care;
  try {
    return await answer;
  } catch (caught) {
    const error = explain(caught);
    if (!(error instanceof KontextError) || error.code !== 'KX_CONFIRMATION_NEEDED' || !confirm) throw error;
    // Waiting for a person is no part of the call: it has a deadline of its own.
    const id = await confirm({ refusal: error, look, signal: options.signal });
    const headers = new Headers(options.headers);
    headers.set(confirmationHeader, id);
    return explainAnswer(
      call(request, { ...options, headers }) as Promise<unknown>,
      { ...care, confirm: undefined },
      call,
      request,
    );
  }
}

async function* explainStream(answers: AsyncIterable<unknown>, explain: (error: unknown) => Error) {
  try {
    yield* answers;
  } catch (error) {
    throw explain(error);
  }
}
