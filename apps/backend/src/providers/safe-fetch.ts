/**
 * The one way the backend calls a host that a user named (identity.md §5).
 *
 * - https only; in local mode also http, to loopback alone
 * - the address is checked when the connection is made, after DNS: no private or special address
 *   (in local mode loopback is allowed), so a name that changes its address between two look-ups gains nothing
 * - a host that the operator lists may have any address; https all the same
 * - no redirect is followed, no proxy variable is read, no connection is kept
 * - one deadline from the first byte out to the last byte in, one cap on the body: slow and endless answers end
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { KontextError } from '@kontext/errors';
import { isLoopbackAddress, isLoopbackUrlHost, isPublicAddress } from './public-address.ts';

/** What to send. */
export interface SafeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Default 10,000: what identity.md §5 grants token endpoints. */
  readonly timeoutMs?: number;
  /** Default 1 MiB. */
  readonly maxBodyBytes?: number;
}

/** A whole answer. */
export interface SafeAnswer {
  readonly status: number;
  /** Names in lower case; of a repeated header the last one. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/**
 * Sends one request.
 *
 * @throws KontextError `KX_PROVIDER_UNREACHABLE`; `details.reason` is `url`, `address`, `redirect`, `too_large` (the host will
 *   not be asked again in vain), or `timeout`, `network` (the request may have arrived).
 */
export type SafeFetch = (url: string, request: SafeRequest) => Promise<SafeAnswer>;

/** How strict to be. */
export interface SafeFetchOptions {
  /** Local mode: loopback may be called, also by http. */
  readonly allowLoopback: boolean;
  /** Hosts that may have a private address: `name`, `name:port` or an address, in lower case. Default none. */
  readonly allowedHosts?: readonly string[];
  /** Name resolution; default that of the system. Replaced in tests. */
  readonly resolve?: (hostname: string) => Promise<readonly LookupAddress[]>;
}

/** Why a call came to nothing. */
export type UnreachableReason =
  | 'url'
  | 'address'
  | 'redirect'
  | 'too_large'
  | 'timeout'
  | 'network'
  | 'status'
  | 'answer';

const defaultTimeoutMs = 10_000;
const defaultMaxBodyBytes = 1024 * 1024;

/** Creates the fetch; see the rules on top of this file. */
export function createSafeFetch(options: SafeFetchOptions): SafeFetch {
  const mayConnect = (address: string) =>
    isPublicAddress(address) || (options.allowLoopback && isLoopbackAddress(address));
  const resolve = options.resolve ?? resolveBySystem;
  const checked = checkedLookup(resolve, mayConnect);
  const unchecked = checkedLookup(resolve, () => true);
  const allowed = new Set(options.allowedHosts ?? []);
  return async (text, request) => {
    const url = checkUrl(text, options.allowLoopback);
    if (isAllowed(allowed, url)) return send(url, request, unchecked);
    const bareHost = url.hostname.replace(/^\[|\]$/g, '');
    // Node looks up names only: an address in the URL has to be checked here.
    if (isIP(bareHost) !== 0 && !mayConnect(bareHost)) throw badAddress(url.hostname);
    return send(url, request, checked);
  };
}

/** Whether the operator lists the host of a URL, for all ports or this one. */
const isAllowed = (allowed: ReadonlySet<string>, { hostname, port, protocol }: URL): boolean =>
  allowed.has(hostname) || allowed.has(`${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`);

/** @throws KontextError `KX_PROVIDER_UNREACHABLE`, reason `url`. */
function checkUrl(text: string, allowLoopback: boolean): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  const plainLoopback = url?.protocol === 'http:' && allowLoopback && isLoopbackUrlHost(url.hostname);
  if (url === null || (url.protocol !== 'https:' && !plainLoopback)) {
    throw unreachable('url', url?.hostname ?? 'the provider', 'its URL is not https');
  }
  return url;
}

function send(url: URL, request: SafeRequest, lookup: LookupFunction): Promise<SafeAnswer> {
  const body = request.body === undefined ? null : Buffer.from(request.body, 'utf8');
  const options: RequestOptions = {
    method: request.method,
    agent: false,
    lookup,
    headers: {
      'accept-encoding': 'identity',
      connection: 'close',
      ...request.headers,
      ...(body === null ? {} : { 'content-length': String(body.length) }),
    },
  };
  return new Promise((resolve, reject) => {
    const call = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options);
    const timer = setTimeout(
      () => fail(unreachable('timeout', url.hostname, 'it did not answer in time')),
      request.timeoutMs ?? defaultTimeoutMs,
    );
    const fail = (error: KontextError): void => {
      clearTimeout(timer);
      reject(error);
      call.destroy();
    };
    call.setNoDelay(true);
    call.on('error', (cause) => fail(asUnreachable(cause, url.hostname)));
    call.on('response', (response) => {
      readAnswer(response, url.hostname, request.maxBodyBytes ?? defaultMaxBodyBytes).then(
        (answer) => {
          clearTimeout(timer);
          resolve(answer);
        },
        (error: unknown) => fail(asUnreachable(error, url.hostname)),
      );
    });
    call.end(body ?? undefined);
  });
}

async function readAnswer(response: IncomingMessage, host: string, maxBytes: number): Promise<SafeAnswer> {
  const status = response.statusCode ?? 0;
  if (status >= 300 && status < 400) throw unreachable('redirect', host, 'it answered with a redirect');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw unreachable('too_large', host, `its answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  const headers = Object.entries(response.headers).map(([name, value]) => [
    name,
    Array.isArray(value) ? (value.at(-1) ?? '') : (value ?? ''),
  ]);
  return { status, headers: Object.fromEntries(headers), body: Buffer.concat(chunks) };
}

const resolveBySystem = (hostname: string): Promise<readonly LookupAddress[]> =>
  new Promise((resolve, reject) => {
    dnsLookup(hostname, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)));
  });

/** A look-up as sockets want it, which hands out only addresses that may be connected to. */
function checkedLookup(
  resolve: (hostname: string) => Promise<readonly LookupAddress[]>,
  mayConnect: (address: string) => boolean,
): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (found) => {
        const allowed = found.filter(({ address }) => mayConnect(address));
        const [first] = allowed;
        if (first === undefined) callback(badAddress(hostname), '');
        else if (options.all === true) callback(null, allowed);
        else callback(null, first.address, first.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, ''),
    );
  };
}

const badAddress = (host: string): KontextError =>
  unreachable('address', host, 'it does not have a public address');

function asUnreachable(error: unknown, host: string): KontextError {
  if (error instanceof KontextError) return error;
  const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
  return unreachable('network', host, `the connection failed${code}`);
}

/** The error of a call that came to nothing. It has no cause: what a provider sent can hold a token. */
export const unreachable = (
  reason: UnreachableReason,
  who: string,
  why: string,
  retryAfterSeconds?: number,
): KontextError =>
  new KontextError('KX_PROVIDER_UNREACHABLE', `${who} cannot be used now`, {
    why,
    details: {
      reason,
      ...(retryAfterSeconds === undefined ? {} : { retry_after_seconds: retryAfterSeconds }),
    },
  });
