import type { Delivery, Placeholder } from './env-template.ts';

/** Either the placeholder, or what is wrong with it. */
export type ParsedPlaceholder =
  | { readonly ok: true; readonly placeholder: Placeholder }
  | { readonly ok: false; readonly reason: string };

const providerPattern = /^[a-z0-9][a-z0-9-]{0,62}$/;
// Nothing that could end the placeholder, begin its query, or hide from a reader (\p{C}: control, bidi, zero-width).
const resourcePattern = /^[^\s\p{C}{}<>?&"'`\\]{1,256}$/u;
// RFC 6749 §3.3 scope-token, without `+`, which separates here.
const scopePattern = /^[!#-*,-[\]-~]+$/;

/**
 * Parses what stands between `kontext:` and the closing brackets.
 *
 * Grammar: `provider[/resource][?scope=a+b][&delivery=inject|broker]`; the first `/` splits, so a resource may hold more.
 * Either parameter may come first, each once. Nothing is percent-decoded.
 *
 * @param body Text without the brackets; bounded by the caller.
 */
export function parsePlaceholder(body: string): ParsedPlaceholder {
  const queryAt = body.search(/[?&]/);
  const target = queryAt < 0 ? body : body.slice(0, queryAt);
  const slashAt = target.indexOf('/');
  const provider = slashAt < 0 ? target : target.slice(0, slashAt);
  if (!providerPattern.test(provider)) {
    return refuse('the provider must be lower-case letters, digits and hyphens, at most 63');
  }
  const resource = slashAt < 0 ? '' : target.slice(slashAt + 1);
  if (slashAt >= 0 && !resourcePattern.test(resource)) {
    return refuse('after `/` a connection name or resource must follow, at most 256 characters');
  }
  const query = queryAt < 0 ? new Map<string, string>() : parseQuery(body.slice(queryAt + 1));
  if (typeof query === 'string') return refuse(query);
  return parseParameters(provider, resource, query);
}

function parseQuery(query: string): Map<string, string> | string {
  const parameters = new Map<string, string>();
  for (const parameter of query.split('&')) {
    const [name = '', ...value] = parameter.split('=');
    if (name !== 'scope' && name !== 'delivery') return 'only the parameters `scope` and `delivery` exist';
    if (parameters.has(name)) return `the parameter \`${name}\` stands twice`;
    parameters.set(name, value.join('='));
  }
  return parameters;
}

function parseParameters(
  provider: string,
  resource: string,
  query: ReadonlyMap<string, string>,
): ParsedPlaceholder {
  const written = query.get('scope')?.split('+') ?? [];
  if (!written.every((scope) => scopePattern.test(scope))) {
    return refuse('`scope=` must be followed by scopes joined with `+`');
  }
  const delivery = query.get('delivery') ?? 'inject';
  if (!isDelivery(delivery)) return refuse('`delivery=` must be followed by `inject` or `broker`');
  const scopes = [...new Set(written)];
  const key = canonicalSpelling(provider, resource, scopes, delivery);
  return { ok: true, placeholder: { provider, resource, scopes, delivery, key } };
}

const isDelivery = (text: string): text is Delivery => text === 'inject' || text === 'broker';

/** Scopes are a set (RFC 6749 §3.3), so the key sorts them; the default delivery is left out. */
function canonicalSpelling(
  provider: string,
  resource: string,
  scopes: readonly string[],
  delivery: Delivery,
): string {
  const query = [
    ...(scopes.length > 0 ? [`scope=${[...scopes].sort().join('+')}`] : []),
    ...(delivery === 'inject' ? [] : [`delivery=${delivery}`]),
  ];
  return `${provider}${resource && `/${resource}`}${query.length > 0 ? `?${query.join('&')}` : ''}`;
}

const refuse = (reason: string): ParsedPlaceholder => ({ ok: false, reason });
