import type { Agent as HttpAgent } from 'node:http';
import type { AgentOptions, Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';

/** Keeps a few connections to one backend open. */
export interface BackendAgent {
  readonly agent: HttpAgent | HttpsAgent;
  /** Closes idle connections, so that the process can end. */
  close(): void;
}

/**
 * Makes the agent for all requests to one backend.
 *
 * Requests send their headers before their body; with Nagle's algorithm the second write waits for the
 * acknowledgement of the first, which costs 40 ms a call. So no-delay is set on every socket.
 */
export async function createBackendAgent(apiUrl: string): Promise<BackendAgent> {
  const options: AgentOptions = { keepAlive: true, maxSockets: 8, timeout: 60_000 };
  // TLS is loaded where it is spoken.
  const { Agent } = await (apiUrl.startsWith('https:') ? import('node:https') : import('node:http'));
  const agent: HttpAgent | HttpsAgent = new Agent(options);
  agent.on('free', (socket: Socket) => socket.setNoDelay(true));
  const { createConnection } = agent as unknown as { createConnection: (...args: unknown[]) => Socket };
  Object.assign(agent, {
    createConnection: (...args: unknown[]) => createConnection.apply(agent, args).setNoDelay(true),
  });
  return { agent, close: () => agent.destroy() };
}
