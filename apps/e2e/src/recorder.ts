/** A wire tap between the command and the backend: what goes over it in either direction is kept, uncompressed. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request with its answer; bodies grow while they are on their way. */
export interface Exchange {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly requestHeaders: IncomingHttpHeaders;
  requestBody: Buffer;
  status: number;
  responseHeaders: IncomingHttpHeaders;
  responseBody: Buffer;
}

/** See {@link startRecorder}. */
export interface Recorder {
  /** What the command takes for the backend. */
  readonly url: string;
  readonly exchanges: readonly Exchange[];
  /** Where the backend really listens; set before the first request. */
  target: URL;
  /** Puts another answer in the place of the backend's, for paths that end like this. */
  forge: { readonly path: string; readonly answer: (body: string) => string } | null;
  close(): Promise<void>;
}

/** Listens on loopback and passes everything on, headers as they are. */
export async function startRecorder(): Promise<Recorder> {
  const exchanges: Exchange[] = [];
  const server = createServer((incoming, outgoing) => {
    const exchange = newExchange(incoming);
    exchanges.push(exchange);
    // Both sides would compress long messages, and nothing would be found in them.
    const { 'accept-encoding': _, 'connect-accept-encoding': __, ...headers } = incoming.headers;
    const { hostname, port } = recorder.target;
    const onward = request({ hostname, port, method: incoming.method, path: incoming.url, headers });
    onward.on('response', (answer) => {
      exchange.status = answer.statusCode ?? 0;
      exchange.responseHeaders = answer.headers;
      answer.on('error', () => outgoing.destroy());
      answer.on('data', (bytes: Buffer) => {
        exchange.responseBody = Buffer.concat([exchange.responseBody, bytes]);
      });
      const { forge } = recorder;
      if (forge !== null && exchange.path.endsWith(forge.path)) {
        const { 'content-length': _length, ...kept } = answer.headers;
        answer.on('end', () => {
          outgoing.writeHead(exchange.status, kept).end(forge.answer(exchange.responseBody.toString()));
        });
        return;
      }
      outgoing.writeHead(exchange.status, answer.rawHeaders);
      outgoing.flushHeaders();
      answer.pipe(outgoing);
    });
    incoming.on('data', (bytes: Buffer) => {
      exchange.requestBody = Buffer.concat([exchange.requestBody, bytes]);
    });
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const recorder: Recorder = {
    url,
    exchanges,
    target: new URL(url),
    forge: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return recorder;
}

const newExchange = (incoming: IncomingMessage): Exchange => ({
  method: incoming.method ?? '',
  path: incoming.url ?? '',
  requestHeaders: incoming.headers,
  requestBody: Buffer.alloc(0),
  status: 0,
  responseHeaders: {},
  responseBody: Buffer.alloc(0),
});
