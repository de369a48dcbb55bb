import { ConnectError, type Interceptor } from '@connectrpc/connect';
import { ErrorDetailSchema } from '@kontext/protocol';
import { confirmInBrowser } from '@kontext/testkit';
import { confirmationHeader } from './rpc/enforce-permissions.ts';

/**
 * Confirms whatever the backend wants confirmed, in a browser, as the person with this account; put it before the interceptor
 * that proves the key. Without passcode nothing is confirmed.
 */
export const confirming =
  (account: { readonly account: string; readonly passcode: string }): Interceptor =>
  (next) =>
  async (request) => {
    try {
      return await next(request);
    } catch (error) {
      const detail = ConnectError.from(error).findDetails(ErrorDetailSchema)[0];
      if (detail?.code !== 'KX_CONFIRMATION_NEEDED' || account.passcode === '') throw error;
      await confirmInBrowser({ url: detail.confirmUri, ...account });
      request.header.set(confirmationHeader, detail.confirmationId);
      return next(request);
    }
  };
