import type { DescService } from '@bufbuild/protobuf';
import { type ConnectRouter, createContextValues } from '@connectrpc/connect';
import { errorToJson } from '@connectrpc/connect/protocol-connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import { unauthenticated } from '@kontext/oauth';
import type { FastifyInstance } from 'fastify';
import { challengeOf } from '../http/metadata.ts';
import type { Confirmations } from '../login/confirmations.ts';
import type { VolumeLimiter } from '../login/volume-limits.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { type AuthenticationParts, createAuthentication } from './authenticate.ts';
import { toConnectError } from './connect-error.ts';
import { addressKey, createPermissionCheck } from './enforce-permissions.ts';
import { createVolumeCheck } from './limit-volume.ts';
import { createCallMeasure } from './measure-calls.ts';
import { services as everyService } from './permissions.ts';

/** Adds one service to the router: `(router) => router.service(SessionService, { … })`. */
export type RpcRoutes = (router: ConnectRouter) => void;

/** Largest message in bytes, after decompression: a batch of 500 audit events with 8 KiB each fits. */
const maxMessageBytes = 4 * 1024 * 1024;
/** Longest a client may ask a unary call to run. */
const maxTimeoutMs = 60 * 60_000;

/**
 * Mounts the services: Connect protocol, binary and JSON; gRPC and gRPC-Web are off. Every one is authenticated, then
 * held to its row of `permissions.ts`; a service that nobody implements answers "unimplemented" after that.
 *
 * A request without `Authorization: DPoP` is refused before its body is read.
 */
export async function registerRpc(
  app: FastifyInstance,
  services: readonly RpcRoutes[],
  authentication: AuthenticationParts & {
    readonly confirmations: Confirmations;
    readonly volume: VolumeLimiter;
    readonly metrics: Metrics;
  },
): Promise<void> {
  const { confirmations, volume, metrics } = authentication;
  await app.register(async (scope) => {
    scope.addHook('onRequest', async (request, reply) => {
      if (/^dpop /i.test(request.headers.authorization ?? '')) return;
      await reply
        .code(401)
        .header('www-authenticate', challengeOf(authentication.apiUrl))
        .header('dpop-nonce', authentication.nonces.issue(authentication.nowMs()))
        .type('application/json')
        .send(JSON.stringify(errorToJson(toConnectError(noToken()), undefined)));
    });
    const interceptor = createAuthentication(authentication, (err, method) =>
      app.log.error({ err, method }, 'a remote procedure failed'),
    );
    await scope.register(fastifyConnectPlugin, {
      routes: (router: ConnectRouter) => {
        mountServices(router, services);
      },
      interceptors: [
        createCallMeasure(metrics),
        interceptor,
        createVolumeCheck(volume),
        createPermissionCheck(confirmations),
      ],
      contextValues: (request) => createContextValues().set(addressKey, request.ip),
      grpc: false,
      grpcWeb: false,
      readMaxBytes: maxMessageBytes,
      writeMaxBytes: 64 * 1024 * 1024,
      maxTimeoutMs,
      shutdownTimeoutMs: 2000,
    });
  });
}

function mountServices(router: ConnectRouter, services: readonly RpcRoutes[]): void {
  const mounted = new Set<DescService>();
  const noting: ConnectRouter = {
    ...router,
    service(service, ...rest) {
      mounted.add(service);
      router.service(service, ...rest);
      return noting;
    },
  };
  for (const add of services) add(noting);
  for (const service of Object.values(everyService)) {
    if (!mounted.has(service)) router.service(service, {});
  }
}

const noToken = () =>
  unauthenticated('invalid_token', 'RFC 9449 §7.1', 'the request carries no DPoP access token');
