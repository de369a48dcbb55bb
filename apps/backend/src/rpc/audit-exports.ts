import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { KontextError } from '@kontext/errors';
import { type AuditService, type Export, ExportFormat, ExportSchema, ExportState } from '@kontext/protocol';
import type { ExportRow, ExportService } from '../audit/exports/export-service.ts';
import { callerOf } from './authenticate.ts';
import { toSafeNumber } from './safe-number.ts';

const states = {
  running: ExportState.RUNNING,
  ready: ExportState.READY,
  failed: ExportState.FAILED,
  expired: ExportState.EXPIRED,
} as const;
const formats = { bundle: ExportFormat.BUNDLE, csv: ExportFormat.CSV } as const;

/** The methods of AuditService that are about exports. */
export const exportMethods = (
  exports: ExportService,
): Pick<ServiceImpl<typeof AuditService>, 'beginExport' | 'getExport' | 'listExports' | 'readExport'> => ({
  beginExport: async ({ format, query, withoutPayloads }, context) => {
    const order = { format: askedFormat(format), query, withoutPayloads };
    return { export: toMessage(await exports.begin(callerOf(context), order)) };
  },
  getExport: async ({ exportId }, context) => ({
    export: toMessage(await exports.get(callerOf(context), exportId)),
  }),
  listExports: async ({ pageSize, pageToken: cursor }, context) => {
    const page = await exports.list(callerOf(context), { pageSize, cursor });
    return { exports: page.exports.map(toMessage), nextPageToken: page.next ?? '' };
  },
  readExport: async function* ({ exportId, offset }, context) {
    for await (const data of exports.read(callerOf(context), exportId, toSafeNumber('offset', offset)))
      yield { data };
  },
});

function askedFormat(format: ExportFormat): ExportRow['format'] {
  if (format === ExportFormat.BUNDLE) return 'bundle';
  if (format === ExportFormat.CSV) return 'csv';
  throw new KontextError('KX_REQUEST_INVALID', 'the field format cannot be used', {
    why: 'this backend knows bundle and csv',
  });
}

function toMessage(row: ExportRow): Export {
  const { id, query, withoutPayloads, userId: createdBy, createdAt, finishedAt, expiresAt, error } = row;
  return create(ExportSchema, {
    ...{ id, query, withoutPayloads, createdBy, error },
    ...{ format: formats[row.format], state: states[row.state], sha256: row.sha256 ?? new Uint8Array() },
    ...{ createdAt: timestampFromDate(createdAt), expiresAt: timestampFromDate(expiresAt) },
    ...(finishedAt === null ? {} : { finishedAt: timestampFromDate(finishedAt) }),
    ...{ events: BigInt(row.events), bytes: BigInt(row.bytes) },
  });
}
