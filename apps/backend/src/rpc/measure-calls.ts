import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { AppendStatus, AuditService } from '@kontext/protocol';
import type { Metrics } from '../metrics/metrics.ts';
import { rpcNameOf } from './permissions.ts';

/** The interceptor around every RPC that counts calls and how long they take. It changes nothing. */
export function createCallMeasure(metrics: Metrics): Interceptor {
  return (next) => async (request) => {
    const begun = performance.now();
    const rpc = rpcNameOf(request.method);
    const isAppend = request.method === AuditService.method.appendEvents;
    let code = 'ok';
    let answer = 'refused';
    try {
      const response = await next(request);
      if (isAppend && !request.stream && !response.stream) {
        answer = answers[(response.message as { status?: AppendStatus }).status ?? 0] ?? 'refused';
        const { events = [] } = request.message as { events?: readonly unknown[] };
        if (answer === 'ok') metrics.count('kontext_audit_events_ingested_total', {}, events.length);
      }
      return response;
    } catch (error) {
      code = codeOf(error);
      throw error;
    } finally {
      metrics.count('kontext_rpc_requests_total', { rpc, code });
      if (isAppend) metrics.count('kontext_audit_appends_total', { answer });
      if (!request.stream)
        metrics.observe('kontext_rpc_duration_seconds', { rpc }, (performance.now() - begun) / 1000);
    }
  };
}

const answers: Readonly<Partial<Record<AppendStatus, string>>> = {
  [AppendStatus.OK]: 'ok',
  [AppendStatus.DUP]: 'dup',
  [AppendStatus.GAP]: 'gap',
  [AppendStatus.FORK]: 'fork',
};

/** As the wire spells it: `invalid_argument`. */
const codeOf = (error: unknown): string => {
  const name = Code[error instanceof ConnectError ? error.code : Code.Unknown] ?? 'Unknown';
  return name.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
};
