import { createConnectTransport } from '@connectrpc/connect-node';
import type { CallsOptions } from './calls.ts';
import { callTimeoutMs } from './calls.ts';
import { type Clients, createClients } from './clients.ts';
import { type ConfirmActionOptions, createConfirmAction } from './confirm-action.ts';
import { createDpopInterceptor } from './dpop-interceptor.ts';
import { createLogInterceptor } from './log-interceptor.ts';
import { rpcError } from './rpc-error.ts';

/**
 * Makes Connect's clients on the connections, login and clock of the calls; nothing is sent before the first call.
 *
 * @param asking How a person is asked when an action has to be confirmed.
 */
export function connectClients(
  { apiUrl, agent, signer, clock, log }: CallsOptions,
  asking: ConfirmActionOptions,
): Clients {
  const transport = createConnectTransport({
    baseUrl: apiUrl,
    httpVersion: '1.1',
    useBinaryFormat: true,
    defaultTimeoutMs: callTimeoutMs,
    nodeOptions: { agent },
    interceptors: [createDpopInterceptor(signer), createLogInterceptor(log)],
  });
  const explain = (error: unknown) => rpcError(error, apiUrl, clock);
  return createClients(transport, explain, createConfirmAction(asking));
}
