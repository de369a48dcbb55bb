import { create } from '@bufbuild/protobuf';
import { IdentityProviderSchema, IdentityProviderService } from '@kontext/protocol';
import { backchannelUrl, type FederationDeps, loginCallbackUrl } from '../login/federation/deps.ts';
import {
  addIdentityProvider,
  type IdentityProviderRow,
  listIdentityProviders,
  removeIdentityProvider,
} from '../login/federation/identity-providers.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

/** The edge of identity providers; who may call it stands in `permissions.ts`. */
export const identityProviderRoutes =
  (deps: FederationDeps): RpcRoutes =>
  (router) => {
    const toMessage = (row: IdentityProviderRow) => {
      const { id, name, issuer, clientId, clientAuth, scopes, groupsClaim } = row;
      const { emailDomains, admitsNewMembers, revalidateSeconds, callbackId } = row;
      return create(IdentityProviderSchema, {
        ...{ id, name, issuer, clientId, clientAuth, scopes, groupsClaim },
        ...{ emailDomains, admitsNewMembers, revalidateSeconds },
        groupRoles: JSON.parse(row.groupRoles) as Record<string, string>,
        callbackUrl: loginCallbackUrl(deps.apiUrl, callbackId),
        backchannelLogoutUrl: backchannelUrl(deps.apiUrl, callbackId),
      });
    };
    router.service(IdentityProviderService, {
      addIdentityProvider: async ({ identityProvider, clientSecret }, context) => {
        const wanted = identityProvider ?? create(IdentityProviderSchema);
        const row = await addIdentityProvider(deps, callerOf(context), { ...wanted, clientSecret });
        return { identityProvider: toMessage(row) };
      },
      listIdentityProviders: async (_request, context) => {
        const rows = await listIdentityProviders(deps, callerOf(context).orgId);
        return { identityProviders: rows.map(toMessage) };
      },
      removeIdentityProvider: async ({ name }, context) => ({
        loginsEnded: await removeIdentityProvider(deps, callerOf(context), name),
      }),
    });
  };
