import { Agent, request } from 'node:http';

/** One request of a round, made before the clock starts. */
export interface PreparedRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What a round of requests took. */
export interface Round {
  /** Requests answered per second. */
  readonly rate: number;
  /** Of each request. */
  readonly wallMs: readonly number[];
}

/** Connections kept open to each server. */
const connections = 8;
const agent = new Agent({ keepAlive: true, maxSockets: connections });

/**
 * Sends requests, eight at a time over connections that stay open.
 *
 * @throws Error when one is answered with another status than 200.
 */
export async function runRound(requests: readonly PreparedRequest[]): Promise<Round> {
  const wallMs: number[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let one = requests[next++]; one !== undefined; one = requests[next++]) {
      const startedAt = performance.now();
      await send(one);
      wallMs.push(performance.now() - startedAt);
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: connections }, worker));
  return { rate: (requests.length * 1000) / (performance.now() - startedAt), wallMs };
}

/** Sends one request and reads the answer. @throws Error when its status is not 200. */
export function send({ url, headers, body }: PreparedRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${url} answered ${response.statusCode}: ${text.slice(0, 500)}`));
      });
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

/** Lets a bench end: connections that are kept open would hold it. */
export const closeConnections = (): void => agent.destroy();
