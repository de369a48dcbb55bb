import { askServer, checkSocketOwner, daemonDeadlineMs, readKeyFile } from '../hooks/client.ts';
import { encodeRequest, type HookReply, type HookRequest } from '../hooks/frames.ts';

/**
 * Sends a request to a hook server of this user, with the key that lies beside its socket.
 *
 * @throws Error in plain words when there is no server, or it gave no answer within `maxWaitMs`.
 */
export function sendRequest(
  socketPath: string,
  request: Omit<HookRequest, 'key'>,
  maxWaitMs: number,
): Promise<HookReply> {
  return new Promise((resolve, reject) => {
    checkSocketOwner(socketPath);
    const key = readKeyFile(socketPath);
    const done = (reply: HookReply | null, reason: string): void =>
      reply === null ? reject(new Error(reason)) : resolve(reply);
    askServer(socketPath, encodeRequest({ ...request, key }), maxWaitMs, done, daemonDeadlineMs);
  });
}

/**
 * Asks a hook server what it is.
 *
 * @returns The members of its answer; null when nobody answers, or answers something else.
 */
export async function askSelf(
  socketPath: string,
  maxWaitMs = 1_000,
): Promise<Readonly<Record<string, unknown>> | null> {
  const nothing = Buffer.alloc(0);
  const request = { kind: 'selfTest', agent: 'kontext', event: 'self-test', trueLength: 0 } as const;
  try {
    const reply = await sendRequest(socketPath, { ...request, head: nothing, tail: nothing }, maxWaitMs);
    const said = JSON.parse(Buffer.from(reply.stdout).toString('utf8')) as Record<string, unknown>;
    return said.selfTest === 'ok' ? said : null;
  } catch {
    return null;
  }
}
