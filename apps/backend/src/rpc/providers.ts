import { create } from '@bufbuild/protobuf';
import { ClientAuth, type Provider, ProviderKind, ProviderSchema, ProviderService } from '@kontext/protocol';
import type { ConnectionService } from '../connections/connection-service.ts';
import type { ProviderInput } from '../connections/provider-input.ts';
import { catalogue, endpointsOf, findEntry, placesOf } from '../providers/catalogue/catalogue.ts';
import type { CatalogueEntry } from '../providers/catalogue/entry.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

type AttachedProvider = Awaited<ReturnType<ConnectionService['addProvider']>>;

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
    const toMessage = (row: AttachedProvider): Provider => {
      const entry = findEntry(row.catalogueId);
      return create(ProviderSchema, {
        ...{ name: row.name, kind: kinds[row.kind], clientId: row.clientId, scopes: row.scopes },
        authorizationEndpoint: row.authorizationEndpoint,
        tokenEndpoint: row.tokenEndpoint,
        revocationEndpoint: row.revocationEndpoint,
        ...{ clientAuth: clientAuths[row.clientAuth], callbackUrl: connections.callbackUrl(row) },
        ...{ catalogueId: row.catalogueId, issuer: row.issuer, settingsJson: row.settings },
        ...{ variables: [...(entry?.variables ?? [])], title: entry?.title ?? '' },
        agents: row.agents.map(({ agent, scopes }) => ({ agent, scopes: [...(scopes ?? [])] })),
        maxLoginAgeSeconds: row.maxLoginAgeSeconds ?? 0,
        ...{ needsApproval: row.approval === 'user', leaseTtlSeconds: row.leaseTtlSeconds },
      });
    };
    router.service(ProviderService, {
      addProvider: async ({ provider, clientSecret }, context) => {
        const wanted = provider ?? create(ProviderSchema);
        const row = await connections.addProvider(callerOf(context), toInput(wanted, clientSecret));
        return { provider: toMessage(row) };
      },
      listProviders: async (_request, context) => ({
        providers: (await connections.listProviders(callerOf(context))).map(toMessage),
      }),
      removeProvider: ({ name, force }, context) =>
        connections.removeProvider(callerOf(context), name, force),
      listCatalogue: () => ({ entries: catalogue.map(entryToMessage) }),
      attachProvider: async ({ provider, agent, scopes }, context) => {
        await connections.attachProvider(callerOf(context), provider, { agent, scopes });
        return {};
      },
      detachProvider: async ({ provider, agent }, context) => ({
        leasesEnded: await connections.detachProvider(callerOf(context), provider, agent),
      }),
    });
  };

function toInput(wanted: Provider, clientSecret: string): ProviderInput {
  const { name, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, scopes } = wanted;
  const { catalogueId, issuer, settingsJson, maxLoginAgeSeconds, needsApproval, leaseTtlSeconds } = wanted;
  return {
    ...{ name, authorizationEndpoint, tokenEndpoint, revocationEndpoint, clientId, scopes, clientSecret },
    ...{ kind: nameOf(kinds, wanted.kind), clientAuth: nameOf(clientAuths, wanted.clientAuth) },
    ...{ catalogueId, issuer, settingsJson, maxLoginAgeSeconds, needsApproval, leaseTtlSeconds },
    agents: wanted.agents,
  };
}

const entryToMessage = (entry: CatalogueEntry): Provider =>
  create(ProviderSchema, {
    ...{ name: entry.id, catalogueId: entry.id, title: entry.title, kind: kinds[entry.kind] },
    ...endpointsOf(entry, placesOf(entry, {})),
    ...{ scopes: [...entry.scopes], variables: [...entry.variables] },
    ...{ clientAuth: clientAuths[entry.clientAuth], settingsJson: JSON.stringify(entry.settings) },
  });

/** The name of an enum value; null for one that is missing or unknown. */
function nameOf<K extends string>(names: Readonly<Record<K, number>>, value: number): K | null {
  return (Object.keys(names) as K[]).find((name) => names[name] === value) ?? null;
}
