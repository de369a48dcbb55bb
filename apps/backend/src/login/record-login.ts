import { appendServerEvent } from '../audit/append-server-event.ts';
import type { Logger } from '../log.ts';
import type { Store } from '../store/store.ts';
import type { RecordLogin } from './login-events.ts';

/** Creates the writer of login events to the organisation's admin stream. */
export function createRecordLogin(store: Store, logger: Logger, nowMs: () => number): RecordLogin {
  return async ({ kind, orgId, userId, clientId, machine, address, reason }) => {
    const event = { kind, user: userId, facts: { client: clientId, machine, address, reason } };
    try {
      await store.transaction({ role: 'app', orgId }, (tx) =>
        appendServerEvent(tx, { orgId, sessionId: null }, event, new Date(nowMs())),
      );
    } catch (err) {
      logger.error({ err, kind, orgId, userId }, 'a login event could not be recorded');
    }
  };
}
