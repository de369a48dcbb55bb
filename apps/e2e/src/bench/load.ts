import { Agent, request } from 'node:http';

/** One request of a round, made before the clock starts. */
export interface PreparedRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
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
const agent = new Agent({ keepAlive: true, maxSockets: 16 });

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
      wallMs.push(await timed(send(one)));
    }
  };
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: connections }, worker));
  return { rate: (requests.length * 1000) / (performance.now() - startedAt), wallMs };
}

/** Runs lanes side by side, at most 16, the steps of each one after the other. @returns Steps per second, and how long each took. */
export async function runLanes(lanes: readonly (readonly (() => Promise<unknown>)[])[]): Promise<Round> {
  const wallMs: number[] = [];
  const startedAt = performance.now();
  await Promise.all(
    lanes.map(async (steps) => {
      for (const step of steps) wallMs.push(await timed(step()));
    }),
  );
  return { rate: (wallMs.length * 1000) / (performance.now() - startedAt), wallMs };
}

async function timed(work: Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work;
  return performance.now() - startedAt;
}

/** Sends one request and reads the answer. @throws Error when its status is not 200. */
export function send({ url, headers, body }: PreparedRequest): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.once('error', reject);
      response.once('end', () => {
        const answer = Buffer.concat(pieces);
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(`${url} answered ${response.statusCode}: ${answer.toString().slice(0, 500)}`));
      });
    });
    sent.once('error', reject);
    sent.end(body);
  });
}

/** Sends one request whose answer is JSON. */
export const sendForJson = async <T>(one: PreparedRequest): Promise<T> =>
  JSON.parse((await send(one)).toString()) as T;

/** Lets a bench end: connections that are kept open would hold it. */
export const closeConnections = (): void => agent.destroy();
