/**
 * Asks the session around us for its credentials, over its socket. Light: two built-ins and the frame format, no keyring, no
 * network; git calls it for every fetch.
 */
import { isErrorCode, KontextError } from '@kontext/errors';
import { askServer, checkSocketOwner, readKeyFile } from './client.ts';
import { encodeRequest } from './client-frames.ts';
import type { ServedCredential } from './serve-credentials.ts';

/** Longest wait: the session may have to renew what is over first. */
const maxWaitMs = 30_000;

/** Asks for credentials. */
export const askCredentials = async (
  socketPath: string | null,
  question:
    | { readonly op: 'list' }
    | { readonly op: 'get'; readonly provider: string; readonly resource: string }
    | { readonly op: 'git'; readonly host: string },
): Promise<readonly ServedCredential[]> => {
  const { credentials } = (await askSession(socketPath, 'credential', question)) as {
    readonly credentials: readonly ServedCredential[];
  };
  return credentials;
};

/**
 * Sends one question and reads the answer.
 *
 * @param socketPath `KONTEXT_SOCKET`.
 * @returns The answer's members.
 * @throws KontextError `KX_NO_SESSION` when there is no session around us, or it has ended; what the session answers, such as
 *   `KX_CREDENTIAL_NOT_IN_SESSION`.
 */
export async function askSession(
  socketPath: string | null,
  event: 'credential' | 'attenuate',
  question: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  const request = makeRequest(socketPath, event, question);
  const stdout = await new Promise<Uint8Array>((resolve, reject) => {
    askServer(socketPath ?? '', request, maxWaitMs, (reply, reason) => {
      if (reply !== null && reply.stdout.length > 0) resolve(reply.stdout);
      else reject(noSession(reply === null ? reason : 'it hands out no credentials'));
    });
  });
  const answer = parseAnswer(stdout);
  const { error } = answer;
  if (typeof error === 'object' && error !== null) throw toError(error as Readonly<Record<string, unknown>>);
  return answer;
}

function makeRequest(
  socketPath: string | null,
  event: string,
  question: Readonly<Record<string, unknown>>,
): Buffer {
  if (socketPath === null) throw noSession('KONTEXT_SOCKET is not set');
  const head = Buffer.from(JSON.stringify({ v: 1, ...question }), 'utf8');
  try {
    checkSocketOwner(socketPath);
    const key = readKeyFile(socketPath);
    const frame = { kind: 'credential', key, agent: 'kontext', event, trueLength: head.length } as const;
    return encodeRequest({ ...frame, head, tail: new Uint8Array() });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw noSession(code === 'ENOENT' ? 'the session has ended' : message);
  }
}

function parseAnswer(stdout: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const answer = JSON.parse(Buffer.from(stdout).toString('utf8')) as Readonly<Record<string, unknown>>;
    if (answer.v === 1) return answer;
  } catch {
    // The cause would quote what may be a credential.
  }
  throw noSession('its answer cannot be read');
}

function toError({ code, message, why, hint }: Readonly<Record<string, unknown>>): KontextError {
  const known = typeof code === 'string' && isErrorCode(code) ? code : 'KX_INTERNAL';
  return new KontextError(known, String(message), { why: String(why ?? ''), hint: String(hint ?? '') });
}

const noSession = (why: string): KontextError =>
  new KontextError('KX_NO_SESSION', 'no session answers', { why });
