import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { AuditService } from '@kontext/protocol';
import type { Lineage } from '../audit/lineage/lineage.ts';
import type { Caller } from '../caller.ts';
import { callerOf } from './authenticate.ts';

/** GetLineage. @param find `findLineage` on the store. */
export const lineageMethods = (
  find: (caller: Caller, id: string) => Promise<Lineage>,
): Pick<ServiceImpl<typeof AuditService>, 'getLineage'> => ({
  getLineage: async ({ id }, context) => {
    const { nodes, clipped, sameId } = await find(callerOf(context), id);
    return {
      nodes: nodes.map(({ at, seq, ...node }) => ({ ...node, at: timestampFromDate(at), seq: BigInt(seq) })),
      clipped,
      sameId: sameId.map(({ streamId, seq }) => ({ streamId, seq: BigInt(seq) })),
    };
  },
});
