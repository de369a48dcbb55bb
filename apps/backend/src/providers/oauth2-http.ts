/** The HTTP of an OAuth 2.0 provider: one request at a time, its habits evened out before the library reads the answer. */
import { KontextError } from '@kontext/errors';
import type { CustomFetchOptions } from 'openid-client';
import { errorName, isObject, parseObject, textAt } from './answer-members.ts';
import type { OAuth2Quirks } from './quirks.ts';
import { type SafeAnswer, type SafeFetch, type SafeRequest, unreachable } from './safe-fetch.ts';

/** What one call saw; the library does not pass these on. */
export interface Observed {
  failure: KontextError | null;
  receivedAtMs: number;
  idToken: string | null;
  account: string | null;
}

/** What a client needs from outside. */
export interface OAuth2Deps {
  readonly fetch: SafeFetch;
  readonly nowMs: () => number;
}

/**
 * Sends a request; a provider that is busy is an error.
 *
 * @throws KontextError `KX_PROVIDER_UNREACHABLE`.
 */
export async function send(
  name: string,
  { fetch }: OAuth2Deps,
  url: string,
  request: SafeRequest,
): Promise<SafeAnswer> {
  const answer = await fetch(url, request);
  if (isBusy(answer)) throw busy(name, answer);
  return answer;
}

/** One request of the library, sent safely; remembers what the library would not tell. */
export async function fetchOnce(
  { name, quirks }: { readonly name: string; readonly quirks: OAuth2Quirks },
  deps: OAuth2Deps,
  observed: Observed,
  url: string,
  options: CustomFetchOptions,
): Promise<Response> {
  try {
    const answer = await send(name, deps, url, encode(quirks, options));
    observed.receivedAtMs = deps.nowMs();
    refuseWrongType(name, answer);
    return normalise(answer, observed, quirks, valuesOf(options));
  } catch (error) {
    if (error instanceof KontextError) observed.failure = error;
    throw error;
  }
}

function encode(
  { tokenBody, tokenHeaders }: OAuth2Quirks,
  { headers, body }: CustomFetchOptions,
): SafeRequest {
  const form = String(body ?? '');
  if (tokenBody === 'form') return { method: 'POST', headers: { ...headers, ...tokenHeaders }, body: form };
  return {
    method: 'POST',
    headers: { ...headers, ...tokenHeaders, 'content-type': 'application/json' },
    body: JSON.stringify(Object.fromEntries(new URLSearchParams(form))),
  };
}

/** GitHub's secondary limit is a 403 with Retry-After. */
const isBusy = ({ status, headers }: SafeAnswer): boolean =>
  status >= 500 ||
  status === 429 ||
  status === 408 ||
  (status === 403 && headers['retry-after'] !== undefined);

function busy(name: string, { status, headers }: SafeAnswer): KontextError {
  const seconds = Number(headers['retry-after']);
  const retryAfter = Number.isInteger(seconds) && seconds > 0 ? Math.min(seconds, 3600) : undefined;
  return unreachable('status', name, `it answered ${status}`, retryAfter);
}

/** RFC 6749 §5.1: tokens come as application/json. Whatever else holds some was not made by a token endpoint. */
function refuseWrongType(name: string, { status, headers, body }: SafeAnswer): void {
  const isJson = /^application\/([a-z0-9.-]+\+)?json\s*(;|$)/i.test(headers['content-type'] ?? '');
  if (status !== 200 || isJson || body.length === 0) return;
  if (parseObject(body)?.access_token === undefined) return;
  throw unreachable('answer', name, 'its answer is not application/json');
}

/**
 * Habits are evened out: an error sent with status 200 becomes one with 400; tokens that stand one level down are lifted; an
 * ID token is set aside before the library would compare its issuer with one we do not know.
 */
function normalise(
  { status, headers, body }: SafeAnswer,
  observed: Observed,
  quirks: OAuth2Quirks,
  sent: readonly string[],
): Response {
  const type = { 'content-type': headers['content-type'] ?? '' };
  const json = parseObject(body);
  if (json === null) {
    return new Response(status === 204 ? null : new Uint8Array(body), { status, headers: type });
  }
  observed.account = textAt(json, quirks.accountMember);
  const { id_token: idToken, ...rest } = evenOut(json, quirks);
  if (typeof idToken === 'string') observed.idToken = idToken;
  if (typeof rest.error === 'string') rest.error = errorName(rest.error, sent);
  const isError = status === 200 && typeof rest.error === 'string' && rest.access_token === undefined;
  return new Response(JSON.stringify(rest), { status: isError ? 400 : status, headers: type });
}

/** What a request holds that no error may repeat: codes, tokens and secrets, in a form. */
const secretParameters = ['code', 'refresh_token', 'token', 'client_secret', 'code_verifier'];
function valuesOf({ body }: CustomFetchOptions): readonly string[] {
  const form = new URLSearchParams(String(body ?? ''));
  return secretParameters.flatMap((name) => form.getAll(name));
}

function evenOut(
  json: Record<string, unknown>,
  { tokenMember, bearerTypes }: OAuth2Quirks,
): Record<string, unknown> {
  const member = json[tokenMember];
  const lifted = isObject(member) && typeof member.access_token === 'string' ? { ...json, ...member } : json;
  // A member that is null, or an empty refresh token, is one that is not there.
  const given = Object.entries(lifted).filter(
    ([name, value]) => value !== null && !(name === 'refresh_token' && value === ''),
  );
  const answer: Record<string, unknown> = Object.fromEntries(given);
  const { scope, token_type: type } = answer;
  if (Array.isArray(scope)) answer.scope = scope.filter((one) => typeof one === 'string').join(' ');
  if (typeof type === 'string' && bearerTypes.includes(type.toLowerCase())) answer.token_type = 'bearer';
  return answer;
}
