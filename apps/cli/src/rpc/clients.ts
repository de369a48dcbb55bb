import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import {
  AgentService,
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
} from '@kontext/protocol';
import { rpcError } from './rpc-error.ts';

/** One client per service of the backend. */
export interface Clients {
  readonly agents: Client<typeof AgentService>;
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
}

/**
 * Makes the clients over a transport: HTTP in production, a router in memory in tests.
 *
 * @param explain Turns what a call failed with into the error that is thrown.
 */
export function createClients(
  transport: Transport,
  explain: (error: unknown) => Error = (error) => rpcError(error, 'http://localhost'),
): Clients {
  const make = <T extends DescService>(service: T) => explained(createClient(service, transport), explain);
  return {
    agents: make(AgentService),
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
  };
}

/** The same client with its errors explained. An interceptor cannot: Connect wraps whatever it throws. */
function explained<T extends object>(client: T, explain: (error: unknown) => Error): T {
  return new Proxy(client, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== 'function') return method;
      return (...args: unknown[]) => {
        const answer = method.apply(target, args) as Promise<unknown> | AsyncIterable<unknown>;
        return Symbol.asyncIterator in answer
          ? explainStream(answer, explain)
          : explainAnswer(answer, explain);
      };
    },
  });
}

async function explainAnswer(answer: Promise<unknown>, explain: (error: unknown) => Error): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    throw explain(error);
  }
}

async function* explainStream(answers: AsyncIterable<unknown>, explain: (error: unknown) => Error) {
  try {
    yield* answers;
  } catch (error) {
    throw explain(error);
  }
}
