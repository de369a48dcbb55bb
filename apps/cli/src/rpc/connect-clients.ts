import { createConnectTransport } from '@connectrpc/connect-node';
import type { CallsOptions } from './calls.ts';
import { callTimeoutMs } from './calls.ts';
import { type Clients, createClients } from './clients.ts';
import { createDpopInterceptor } from './dpop-interceptor.ts';
import { createLogInterceptor } from './log-interceptor.ts';
import { rpcError } from './rpc-error.ts';

/** Makes Connect's clients on the connections, login and clock of the calls; nothing is sent before the first call. */
export function connectClients({ apiUrl, agent, signer, clock, log }: CallsOptions): Clients {
  const transport = createConnectTransport({
    baseUrl: apiUrl,
    httpVersion: '1.1',
    useBinaryFormat: true,
    defaultTimeoutMs: callTimeoutMs,
    nodeOptions: { agent },
    interceptors: [createDpopInterceptor(signer), createLogInterceptor(log)],
  });
  return createClients(transport, (error) => rpcError(error, apiUrl, clock));
}
