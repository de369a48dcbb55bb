import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { KontextError } from '@kontext/errors';
import { type AuditService, AuditSettingsSchema, PayloadSetting } from '@kontext/protocol';
import {
  type AuditSettings,
  type PayloadService,
  retentionClasses,
} from '../audit/payloads/payload-service.ts';
import { callerOf } from './authenticate.ts';

const settings = {
  summary: PayloadSetting.SUMMARY,
  full: PayloadSetting.FULL,
  omitted: PayloadSetting.OMITTED,
} as const;

/** What is kept of payloads, as a session is told it. */
export const toPayloadSetting = (payloads: AuditSettings['payloads']): PayloadSetting => settings[payloads];

/** The methods of AuditService that are about payloads. */
export const payloadMethods = (
  payloads: PayloadService,
): Pick<
  ServiceImpl<typeof AuditService>,
  'getAuditSettings' | 'setAuditSettings' | 'erasePayloads' | 'holdPayloads'
> => ({
  getAuditSettings: async (_request, context) => ({
    settings: toMessage(await payloads.settings(callerOf(context))),
  }),
  setAuditSettings: async (request, context) => {
    const change = {
      payloads: askedSetting(request.payloads),
      retentionClass: request.retentionClass === '' ? null : request.retentionClass,
    };
    return { settings: toMessage(await payloads.set(callerOf(context), change)) };
  },
  erasePayloads: async ({ eventId, sessionId, userId, reason }, context) => {
    const target = { eventId, sessionId, userId };
    const { erased, held } = await payloads.erase(callerOf(context), target, reason);
    return { erased: BigInt(erased), held: BigInt(held) };
  },
  holdPayloads: async ({ sessionId, hold, reason }, context) => ({
    payloads: BigInt(await payloads.hold(callerOf(context), sessionId, hold, reason)),
  }),
});

function askedSetting(asked: PayloadSetting): AuditSettings['payloads'] | null {
  switch (asked) {
    case PayloadSetting.UNSPECIFIED:
      return null;
    case PayloadSetting.SUMMARY:
      return 'summary';
    case PayloadSetting.FULL:
      return 'full';
    case PayloadSetting.OMITTED:
      return 'omitted';
    default:
      throw new KontextError('KX_REQUEST_INVALID', 'the field payloads cannot be used', {
        why: 'this backend knows summary, full and omitted',
      });
  }
}

const toMessage = ({ payloads, retentionClass, changedAt, changedBy }: AuditSettings) =>
  create(AuditSettingsSchema, {
    ...{ retentionClass, payloads: toPayloadSetting(payloads), changedBy: changedBy ?? '' },
    ...(changedAt === null ? {} : { changedAt: timestampFromDate(changedAt) }),
    classes: retentionClasses.map(({ name, days }) => ({ name, days })),
  });
