import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import type { Log } from '../log.ts';

/** Writes one log line per call: method, outcome, duration. Never a header or a message. */
export const createLogInterceptor =
  (log: Log): Interceptor =>
  (next) =>
  async (req) => {
    const startedAt = performance.now();
    const name = `${req.service.typeName}/${req.method.name}`;
    const done = (outcome: string) =>
      log(`rpc ${name} ${outcome} ${Math.round(performance.now() - startedAt)} ms`);
    try {
      const answer = await next(req);
      done('ok');
      return answer;
    } catch (error) {
      done(Code[ConnectError.from(error).code] ?? 'failed');
      throw error;
    }
  };
