import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { OrganisationService } from '@kontext/protocol';
import type { PolicyService } from '../policies/policy-service.ts';
import { version } from '../version.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

/** The edge that tells callers who they are. */
export const organisationRoutes =
  (policies: Pick<PolicyService, 'keyThumbprint'>, nowMs: () => number): RpcRoutes =>
  (router) =>
    router.service(OrganisationService, {
      getCaller: async (_request, context) => {
        const { userId, userName, orgId, orgName, role } = callerOf(context);
        const policyKeyThumbprint = await policies.keyThumbprint(orgId);
        return {
          ...{ userId, userName, orgId, orgName, role, policyKeyThumbprint },
          serverVersion: version,
          now: timestampFromMs(nowMs()),
        };
      },
    });
