/** Somebody a sink sends to: checks every message as the Standard Webhooks say, keeps it, and answers what it is told to. */
import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One event as a sink gets it. */
export interface SinkEvent {
  readonly id: string;
  readonly stream: string;
  readonly seq: number;
  readonly leaf: number;
  readonly kind: string;
  readonly header: string;
  readonly payload: string | null;
}

/** One request, taken or refused. */
export interface HeardMessage {
  /** Everything that came, as text. */
  readonly raw: string;
  readonly status: number;
  readonly isSigned: boolean;
  readonly events: readonly SinkEvent[];
}

/** See {@link startSinkReceiver}. */
export interface SinkReceiver {
  readonly url: string;
  readonly heard: readonly HeardMessage[];
  /** Of the sink, as `sinks add` says it; nothing is signed rightly before it is set. */
  secret: string;
  /** What is answered from now on; 204 at first. */
  status: number;
  /** Events of the messages that were taken, in the order they came, each as often as it came. */
  taken(): SinkEvent[];
  close(): Promise<void>;
}

/** Listens on loopback. */
export async function startSinkReceiver(): Promise<SinkReceiver> {
  const heard: HeardMessage[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      const { status } = receiver;
      const { events = [] } = JSON.parse(body) as { readonly events?: readonly SinkEvent[] };
      const raw = `${request.url}\n${request.rawHeaders.join('\n')}\n${body}`;
      heard.push({ raw, status, events, isSigned: isSigned(receiver.secret, request.headers, body) });
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const receiver: SinkReceiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`,
    heard,
    secret: '',
    status: 204,
    taken: () => heard.filter(({ status }) => status === 204).flatMap(({ events }) => events),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return receiver;
}

/** Standard Webhooks, "Signature scheme": HMAC-SHA256 of id, timestamp and body with the key behind `whsec_`. */
function isSigned(secret: string, headers: IncomingHttpHeaders, body: string): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
  const wanted = `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
  return key.length > 0 && String(headers['webhook-signature']).split(' ').includes(wanted);
}
