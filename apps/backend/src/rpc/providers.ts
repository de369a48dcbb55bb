import { create } from '@bufbuild/protobuf';
import { ClientAuth, ProviderKind, ProviderSchema, ProviderService } from '@kontext/protocol';
import type { ConnectionService } from '../connections/connection-service.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

type ProviderRow = Awaited<ReturnType<ConnectionService['addProvider']>>;

const kinds = {
  oauth2: ProviderKind.OAUTH2,
  static: ProviderKind.STATIC,
  github_app: ProviderKind.GITHUB_APP,
  aws_sts: ProviderKind.AWS_STS,
  postgres: ProviderKind.POSTGRES,
  token_exchange: ProviderKind.TOKEN_EXCHANGE,
} as const;
const clientAuths = {
  client_secret_basic: ClientAuth.SECRET_BASIC,
  client_secret_post: ClientAuth.SECRET_POST,
  private_key_jwt: ClientAuth.PRIVATE_KEY_JWT,
  none: ClientAuth.NONE,
} as const;

/** The edge of providers: wire in, wire out. */
export const providerRoutes =
  (connections: ConnectionService): RpcRoutes =>
  (router) => {
    const toMessage = (row: ProviderRow) => {
      const { name, kind, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, scopes } = row;
      return create(ProviderSchema, {
        ...{ name, kind: kinds[kind], authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId },
        ...{ scopes, clientAuth: clientAuths[row.clientAuth], callbackUrl: connections.callbackUrl(row) },
      });
    };
    router.service(ProviderService, {
      addProvider: async ({ provider, clientSecret }, context) => {
        const wanted = provider ?? create(ProviderSchema);
        const { name, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, scopes } = wanted;
        const row = await connections.addProvider(callerOf(context), {
          ...{ name, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, scopes },
          ...{ kind: nameOf(kinds, wanted.kind), clientAuth: nameOf(clientAuths, wanted.clientAuth) },
          clientSecret,
        });
        return { provider: toMessage(row) };
      },
      listProviders: async (_request, context) => ({
        providers: (await connections.listProviders(callerOf(context))).map(toMessage),
      }),
      removeProvider: async ({ name, force }, context) => {
        await connections.removeProvider(callerOf(context), name, force);
        return {};
      },
    });
  };

/** The name of an enum value; null for one that is missing or unknown. */
function nameOf<K extends string>(names: Readonly<Record<K, number>>, value: number): K | null {
  return (Object.keys(names) as K[]).find((name) => names[name] === value) ?? null;
}
