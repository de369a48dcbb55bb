import type { FastifyInstance, FastifyReply } from 'fastify';

/** Headers of every answer. Pages load our own style sheet and post to us, nothing else (identity.md §5). */
const headers: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
};

/**
 * Sets the security headers on every answer, also on those other libraries write to the socket themselves.
 *
 * @param https Whether browsers reach us by https; then they are told to stay there (RFC 6797).
 */
export function registerSecurityHeaders(app: FastifyInstance, https: boolean): void {
  const all = https ? { ...headers, 'strict-transport-security': 'max-age=31536000' } : headers;
  app.addHook('onRequest', async (_request, reply) => {
    for (const [name, value] of Object.entries(all)) reply.raw.setHeader(name, value);
  });
}

/**
 * Lets the forms of one page lead elsewhere: replaces `form-action` in the policy of this answer.
 *
 * @param sources As the directive takes them (CSP 3 §6.4.1).
 */
export function allowFormAction(reply: FastifyReply, sources: string): void {
  const policy = String(reply.raw.getHeader('content-security-policy') ?? '');
  const other = policy.split(';').filter((directive) => !/^\s*form-action\b/.test(directive));
  reply.raw.setHeader('content-security-policy', [...other, ` form-action ${sources}`].join(';'));
}
