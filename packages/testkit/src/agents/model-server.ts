import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  encodeMessageJson,
  encodeMessageStream,
  type ModelRequest,
  type ModelRequestBody,
  type ModelTurn,
} from './model-messages.ts';

/** What the model answers: a list of turns in order, or a function that looks at the request. */
export type ModelScript =
  | readonly ModelTurn[]
  | ((request: ModelRequest, turnIndex: number) => ModelTurn | Promise<ModelTurn>);

/** A running scripted model server. */
export interface ModelServer {
  /** `http://127.0.0.1:port`, the value for `ANTHROPIC_BASE_URL`. */
  readonly url: string;
  /** Everything that was asked, in order. */
  readonly requests: readonly ModelRequest[];
  /** The conversation's requests only: those that offer tools; side questions of the client are not in it. */
  readonly turns: readonly ModelRequest[];
  stop(): Promise<void>;
}

/**
 * Starts a server on loopback that speaks the Anthropic Messages API and plays a script instead of thinking.
 *
 * Each request of the conversation takes the next turn; when the script is over it answers the text `done`. Side
 * questions of the client (a title for the session, token counts) are answered without using up a turn.
 */
export async function startModelServer(script: ModelScript): Promise<ModelServer> {
  const requests: ModelRequest[] = [];
  const turns: ModelRequest[] = [];
  const server = createServer((request, response) => {
    respond(request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ type: 'error', error: { type: 'api_error', message: String(error) } }));
    });
  });

  async function respond(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await readRequest(incoming);
    requests.push(request);
    const path = request.path.split('?')[0];
    if (path !== '/v1/messages' || request.method !== 'POST') {
      sendJson(response, 200, path === '/v1/messages/count_tokens' ? { input_tokens: 10 } : {});
    } else if ((request.body?.tools?.length ?? 0) === 0) {
      play(request, { text: 'ok' }, response);
    } else {
      await playNextTurn(request, response);
    }
  }

  async function playNextTurn(request: ModelRequest, response: ServerResponse): Promise<void> {
    turns.push(request);
    const index = turns.length - 1;
    const turn =
      typeof script === 'function' ? await script(request, index) : (script[index] ?? { text: 'done' });
    await turn.before?.(request);
    play(request, turn, response);
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    turns,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * The results that the client sent back with its last message, by `tool_use_id`.
 *
 * @returns text of each result (content blocks joined) and whether the client marked it as an error.
 */
export function toolResults(request: ModelRequest): ReadonlyMap<string, { text: string; isError: boolean }> {
  const last = request.body?.messages?.at(-1);
  const blocks = Array.isArray(last?.content) ? (last.content as Record<string, unknown>[]) : [];
  const results = blocks.filter((block) => block.type === 'tool_result');
  return new Map(
    results.map((block) => [
      String(block.tool_use_id),
      { text: textOf(block.content), isError: block.is_error === true },
    ]),
  );
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  const parts = Array.isArray(content) ? (content as { text?: string }[]) : [];
  return parts.map((part) => part.text ?? '').join('');
}

function play(request: ModelRequest, turn: ModelTurn, response: ServerResponse): void {
  const model = request.body?.model ?? 'scripted';
  if (turn.status !== undefined) {
    const type = turn.status === 429 ? 'rate_limit_error' : 'api_error';
    sendJson(response, turn.status, { type: 'error', error: { type, message: turn.text ?? 'scripted' } });
  } else if (request.body?.stream !== true) {
    sendJson(response, 200, encodeMessageJson(model, turn));
  } else {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.end(encodeMessageStream(model, turn));
  }
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

async function readRequest(incoming: IncomingMessage): Promise<ModelRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return {
    method: incoming.method ?? '',
    path: incoming.url ?? '',
    headers: incoming.headers,
    body: parseJson(text),
  };
}

function parseJson(text: string): ModelRequestBody | null {
  try {
    return JSON.parse(text) as ModelRequestBody;
  } catch {
    return null;
  }
}
