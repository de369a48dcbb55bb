import type { FastifyInstance } from 'fastify';
import { apiScope } from '../caller.ts';

/** Where the metadata of our API are (RFC 9728 §3.1: the resource has no path). */
export const resourceMetadataPath = '/.well-known/oauth-protected-resource';

/** Seconds for which metadata may be kept. */
const maxAgeSeconds = 300;

/**
 * Serves the metadata of our API as a protected resource (RFC 9728 §2): who issues tokens for it, and how they are presented.
 *
 * Those of the authorization server (RFC 8414) come from the library, see `oauth/mount.ts`.
 */
export function registerMetadata(
  app: FastifyInstance,
  { apiUrl, issuer }: { readonly apiUrl: string; readonly issuer: string },
): void {
  const document = {
    resource: apiUrl,
    authorization_servers: [issuer],
    scopes_supported: [apiScope],
    bearer_methods_supported: ['header'],
    dpop_signing_alg_values_supported: ['ES256'],
    dpop_bound_access_tokens_required: true,
    resource_name: 'kontext',
  };
  app.get(resourceMetadataPath, async (_request, reply) => {
    await reply.header('cache-control', `public, max-age=${maxAgeSeconds}`).send(document);
    return reply;
  });
}

/**
 * A challenge to whoever sent no acceptable token (RFC 9449 §7.1, RFC 9728 §5.1).
 *
 * @param parameters Further parameters with their values: `error`, `acr_values` (RFC 9470 §3); undefined ones are left out.
 */
export function challengeOf(
  apiUrl: string,
  parameters: Readonly<Record<string, string | number | undefined>> = {},
): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return [
    'DPoP algs="ES256"',
    ...given.map(([name, value]) => `${name}="${value}"`),
    `resource_metadata="${apiUrl}${resourceMetadataPath}"`,
  ].join(', ');
}
