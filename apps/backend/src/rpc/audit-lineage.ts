import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { AuditService } from '@kontext/protocol';
import { findLineage } from '../audit/lineage/lineage.ts';
import type { Store } from '../store/store.ts';
import { callerOf } from './authenticate.ts';

/** GetLineage. */
export const lineageMethods = (store: Store): Pick<ServiceImpl<typeof AuditService>, 'getLineage'> => ({
  getLineage: async ({ id }, context) => {
    const { nodes, clipped } = await findLineage(store, callerOf(context), id);
    return { nodes: nodes.map(({ at, ...node }) => ({ ...node, at: timestampFromDate(at) })), clipped };
  },
});
