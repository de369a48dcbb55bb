import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, type ConnectRouter, type Interceptor } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { createNonceIssuer, verifyAccessToken, verifyDpopProof } from '@kontext/oauth';
import { ErrorDetailSchema, OrganisationService } from '@kontext/protocol';
import { createTestAuthorizationServer, type TestAuthorizationServer } from './test-authorization-server.ts';

/** A backend on loopback: a real HTTP server that checks token and proof of every call. */
export interface TestBackend {
  readonly url: string;
  readonly oauth: TestAuthorizationServer;
  /** Paths called, in order, without those that were refused. */
  readonly calls: string[];
  /** Added to the clock that judges proofs and to the `Date` header. */
  clockOffsetMs: number;
  /** Refuses what comes with this code as long as it is set. */
  refuseWith: string | null;
  close(): Promise<void>;
}

const dayMs = 86_400_000;

/** Makes an error as the backend sends it. */
export const wireError = (
  code: string,
  message: string,
  more: Record<string, unknown> = {},
  rpc = Code.FailedPrecondition,
) => new ConnectError(message, rpc, undefined, [{ desc: ErrorDetailSchema, value: { code, ...more } }]);

/** Starts the backend. `GetCaller` is served; a test adds the rest. */
export async function startTestBackend(
  routes: (router: ConnectRouter) => void = () => undefined,
  tls?: { readonly cert: Buffer; readonly key: Buffer },
): Promise<TestBackend> {
  const oauth = await createTestAuthorizationServer();
  const nonces = createNonceIssuer(Buffer.alloc(32, 7));
  const calls: string[] = [];
  const now = () => Date.now() + backend.clockOffsetMs;
  oauth.now = now;
  const guard: Interceptor = (next) => async (req) => {
    try {
      if (backend.refuseWith) throw wireError(backend.refuseWith, 'refused', {}, Code.Unauthenticated);
      await checkCall(backend, nonces, now(), req.url, req.header);
      calls.push(new URL(req.url).pathname);
      const answer = await next(req);
      answer.header.set('dpop-nonce', nonces.issue(now()));
      return answer;
    } catch (error) {
      const failure = ConnectError.from(error);
      failure.metadata.set('dpop-nonce', nonces.issue(now()));
      throw failure;
    }
  };
  const rpc = connectNodeAdapter({
    interceptors: [guard],
    routes: (router) => {
      router.rpc(OrganisationService.method.getCaller, () => ({
        userId: oauth.userId,
        userName: `${oauth.userId}@example.com`,
        orgId: 'org_1',
        orgName: 'Example',
        role: 'owner',
        policyKeyThumbprint: 'thumbprint',
        serverVersion: '1.2.3',
        orgSlug: 'example',
        groups: ['platform'],
        login: {
          ...{ id: 'lgn_1', machine: 'alice-mbp', address: '127.0.0.1', current: true },
          acr: 'urn:kontext:acr:passcode',
          createdAt: timestampFromMs(now() - 3 * dayMs),
          authAt: timestampFromMs(now() - 3 * dayMs),
          idleExpiresAt: timestampFromMs(now() + 30 * dayMs + 60_000),
          absoluteExpiresAt: timestampFromMs(now() + 87 * dayMs + 60_000),
        },
        now: { seconds: BigInt(Math.floor(now() / 1000)) },
      }));
      routes(router);
    },
  });
  const answer = (req: IncomingMessage, res: ServerResponse) => {
    res.setHeader('date', new Date(now()).toUTCString());
    if (req.url === '/healthz') res.end('{}');
    else if (req.url?.startsWith('/oauth/')) void oauth.handle(backend.url, req, res);
    else rpc(req, res);
  };
  const server = tls ? createTlsServer(tls, answer) : createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const backend: TestBackend = {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    oauth,
    calls,
    clockOffsetMs: 0,
    refuseWith: null,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return backend;
}

async function checkCall(
  backend: TestBackend,
  nonces: ReturnType<typeof createNonceIssuer>,
  nowMs: number,
  url: string,
  header: Headers,
): Promise<void> {
  const token = header.get('authorization')?.replace(/^DPoP /, '') ?? '';
  try {
    const { pathname } = new URL(url);
    const proof = await verifyDpopProof({
      proof: header.get('dpop') ?? undefined,
      htm: 'POST',
      htu: `${backend.url}${pathname}`,
      accessToken: token,
      nowMs,
      isNonceValid: (nonce) => nonces.isValid(nonce, nowMs),
    });
    const claims = await verifyAccessToken({
      token,
      issuer: `${backend.url}/oauth`,
      audience: backend.url,
      jwks: backend.oauth.jwks,
      nowMs,
    });
    if (claims.jkt !== proof.jkt) throw new Error('another key');
  } catch (error) {
    const code = (error as { code?: string }).code ?? 'KX_UNAUTHENTICATED';
    throw wireError(code, String(error), {}, Code.Unauthenticated);
  }
}
