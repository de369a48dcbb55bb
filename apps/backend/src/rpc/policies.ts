import { create } from '@bufbuild/protobuf';
import { PolicyService, type PolicySnapshot, PolicySnapshotSchema } from '@kontext/protocol';
import type { PolicyService as Policies, SignedSnapshot } from '../policies/policy-service.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

/** The edge of `policies/`. */
export const policyRoutes =
  (policies: Policies): RpcRoutes =>
  (router) =>
    router.service(PolicyService, {
      getPolicySnapshot: async (_request, context) => ({
        snapshot: toSnapshotMessage(await policies.snapshot(callerOf(context).orgId)),
      }),
    });

/** A signed snapshot as it goes over the wire. */
export const toSnapshotMessage = ({ jws, policies }: SignedSnapshot): PolicySnapshot =>
  create(PolicySnapshotSchema, { jws, policies: policies.map(({ id, text }) => ({ id, text })) });
