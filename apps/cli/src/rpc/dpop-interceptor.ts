import { ConnectError, type Interceptor } from '@connectrpc/connect';
import type { CallSigner } from './call-signer.ts';
import { errorDetail } from './rpc-error.ts';

/**
 * Signs every call of Connect. A stream reports refusals after it has begun and is not repeated: make a unary call first.
 */
export const createDpopInterceptor =
  (signer: CallSigner): Interceptor =>
  (next) =>
  (req) =>
    signer.send({
      method: req.requestMethod,
      url: req.url,
      mayRepeat: !req.stream,
      codeOf: (error) => (error instanceof ConnectError ? errorDetail(error)?.code : undefined),
      send: async ({ authorization, dpop }) => {
        req.header.set('authorization', authorization);
        req.header.set('dpop', dpop);
        try {
          const answer = await next(req);
          signer.listen((name) => answer.header.get(name));
          return answer;
        } catch (error) {
          if (error instanceof ConnectError) signer.listen((name) => error.metadata.get(name));
          throw error;
        }
      },
    });
