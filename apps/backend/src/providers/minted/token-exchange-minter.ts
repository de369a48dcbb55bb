import { randomUUID } from 'node:crypto';
import { KontextError } from '@kontext/errors';
import { accessTokenType, tokenExchangeGrantType } from '@kontext/oauth';
import { Secret } from '@kontext/redaction';
import { SignJWT } from 'jose';
import { z } from 'zod';
import { loadClientKey } from '../client-key.ts';
import type { SafeAnswer } from '../safe-fetch.ts';
import { badAnswer, mintRefused, parseBody, usableToken, whyTransient } from './judge-answer.ts';
import type { Minted, Minter, MinterDeps, MintRequest, RevokeOutcome, RevokeRequest } from './minter.ts';
import { pickEntry } from './pick-entry.ts';
import { type TokenExchangeSettings, tokenExchangeSettings } from './settings.ts';

const jwtTokenType = 'urn:ietf:params:oauth:token-type:jwt';
const jwtBearer = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const assertionSeconds = 120;
const maxLifeSeconds = 86_400;

/**
 * Tokens of another server that speaks RFC 8693. What is exchanged is a JWT of ours about the user (`sub`, with the agent as
 * `act`), or the access token the user's own connection to another provider has. A token presented to us is never passed on.
 */
export function createTokenExchangeMinter(deps: MinterDeps): Minter {
  return {
    target: ({ settings }, resource) => {
      const { base, field, entry } = pickEntry(read(settings).targets, resource, []);
      return { base, field, scopes: entry.scopes ?? null, ttlSeconds: { min: 60, max: maxLifeSeconds } };
    },
    plan: (leaseId) => leaseId,
    mint: (request) => mint(deps, request),
    revoke: (request) => revoke(deps, request),
  };
}

const read = (settings: string): TokenExchangeSettings => tokenExchangeSettings.parse(JSON.parse(settings));

/** Whether that server takes tokens back (RFC 7009). @param settings JSON text, as stored. */
export const revokesTokens = (settings: string): boolean => read(settings).revocationEndpoint !== undefined;

/** RFC 8693 §2.2.1; only tokens that are used as bearer tokens, or are no access tokens, can be handed on. */
const answerShape = z.looseObject({
  access_token: z.string().regex(usableToken),
  issued_token_type: z.string().min(1).max(256),
  token_type: z.string().regex(/^(bearer|n_a)$/i),
  expires_in: z.number().positive().optional(),
  scope: z.string().max(4096).optional(),
});

async function mint(deps: MinterDeps, request: MintRequest): Promise<Minted> {
  const { provider, providerSecret, target, scopes } = request;
  const settings = read(provider.settings);
  const { entry } = pickEntry(settings.targets, target.base, []);
  const subject = await subjectOf(deps, request, settings);
  const params = new URLSearchParams({ grant_type: tokenExchangeGrantType, ...subject });
  if (entry.requestedTokenType !== undefined) params.set('requested_token_type', entry.requestedTokenType);
  for (const audience of entry.audience ?? []) params.append('audience', audience);
  for (const resource of entry.resource ?? []) params.append('resource', resource);
  if (scopes.length > 0) params.set('scope', scopes.join(' '));
  const receivedAtMs = deps.nowMs();
  const answer = await post(deps, settings, providerSecret, settings.tokenEndpoint, params);
  const made = answer.status === 200 ? answerShape.safeParse(parseBody(answer.body)) : null;
  if (!made?.success) throw judge(provider.name, answer);
  const { access_token, issued_token_type, expires_in, scope } = made.data;
  const token = new Secret(access_token);
  // RFC 6749 §5.1: left out when it is what was asked for.
  const given = scope === undefined ? scopes : scope.split(' ').filter((one) => one !== '');
  const bounds = scopes.length > 0 ? scopes : (target.scopes ?? given);
  const isBeyond = given.some((one) => !bounds.includes(one));
  if (isBeyond || (entry.requestedTokenType ?? issued_token_type) !== issued_token_type) {
    await revokeToken(deps, settings, providerSecret, token).catch(() => undefined);
    throw mintRefused(provider.name, 'it issued something else than was asked for');
  }
  const expiresAtMs =
    expires_in === undefined ? null : receivedAtMs + Math.min(expires_in, maxLifeSeconds) * 1000;
  return {
    ...{ values: new Map([['', token]]), scopes: given },
    expiresAt: expiresAtMs === null ? null : new Date(expiresAtMs),
    keep: settings.revocationEndpoint === undefined ? null : token,
  };
}

async function subjectOf(
  deps: MinterDeps,
  request: MintRequest,
  { subject = 'assertion', issuer }: TokenExchangeSettings,
): Promise<{ readonly subject_token: string; readonly subject_token_type: string }> {
  if (subject !== 'assertion') {
    const token = await request.userToken(subject.connection);
    return { subject_token: token.reveal(), subject_token_type: accessTokenType };
  }
  const { userId, orgId, agent, sessionId } = request;
  const now = Math.floor(deps.nowMs() / 1000);
  const subject_token = await deps.signAssertion({
    ...{ sub: userId, aud: issuer, org: orgId, act: { sub: agent }, jti: randomUUID() },
    ...{ iat: now, nbf: now - 60, exp: now + assertionSeconds, ...(sessionId ? { sid: sessionId } : {}) },
  });
  return { subject_token, subject_token_type: jwtTokenType };
}

/** RFC 6749 §5.2. */
function judge(name: string, answer: SafeAnswer): KontextError {
  const transient = whyTransient(name, answer);
  if (transient !== null) return transient;
  const error = z.looseObject({ error: z.string() }).safeParse(parseBody(answer.body));
  const known = error.success && /^[a-z_]{1,64}$/.test(error.data.error) ? error.data.error : null;
  if (answer.status >= 400 && answer.status < 500 && known !== null) {
    return new KontextError('KX_MINT_REFUSED', `${name} refused: ${known}`, {
      details: { upstream_error: known },
    });
  }
  return badAnswer(name, 'its answer is not that of a token exchange');
}

async function revoke(
  deps: MinterDeps,
  { provider, providerSecret, kept }: RevokeRequest,
): Promise<RevokeOutcome> {
  const settings = read(provider.settings);
  if (settings.revocationEndpoint === undefined) return 'impossible';
  // A crash came between their answer and our commit: nobody has the token, and nobody can name it.
  return kept === null ? 'gone' : revokeToken(deps, settings, providerSecret, kept);
}

/** RFC 7009 §2: 200 also for a token that is gone. */
async function revokeToken(
  deps: MinterDeps,
  settings: TokenExchangeSettings,
  secret: Secret | null,
  token: Secret,
): Promise<RevokeOutcome> {
  if (settings.revocationEndpoint === undefined) return 'impossible';
  const params = new URLSearchParams({ token: token.reveal(), token_type_hint: 'access_token' });
  const answer = await post(deps, settings, secret, settings.revocationEndpoint, params);
  if (answer.status === 200) return 'revoked';
  const who = new URL(settings.revocationEndpoint).hostname;
  throw whyTransient(who, answer) ?? badAnswer(who, `it answered ${answer.status}`);
}

/** Sends a form with the client's authentication (RFC 6749 §2.3.1, RFC 7523 §2.2). */
async function post(
  deps: MinterDeps,
  { clientAuth, clientId, issuer, keyId }: TokenExchangeSettings,
  secret: Secret | null,
  url: string,
  params: URLSearchParams,
): Promise<SafeAnswer> {
  const headers: Record<string, string> = {
    ...{ accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
  };
  const value = secret?.reveal() ?? '';
  if (clientAuth === 'client_secret_basic') {
    const pair = `${formEncode(clientId)}:${formEncode(value)}`;
    headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
  } else params.set('client_id', clientId);
  if (clientAuth === 'client_secret_post') params.set('client_secret', value);
  if (clientAuth === 'private_key_jwt') {
    params.set('client_assertion_type', jwtBearer);
    params.set('client_assertion', await assertClient(deps, { clientId, issuer, keyId }, value));
  }
  return deps.fetch(url, { method: 'POST', headers, body: params.toString() });
}

const formEncode = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);

async function assertClient(
  { nowMs }: MinterDeps,
  { clientId, issuer, keyId }: Pick<TokenExchangeSettings, 'clientId' | 'issuer' | 'keyId'>,
  pem: string,
): Promise<string> {
  const { key, alg } = await loadClientKey(pem);
  const now = Math.floor(nowMs() / 1000);
  return new SignJWT({
    ...{ iss: clientId, sub: clientId, aud: issuer, jti: randomUUID(), iat: now, exp: now + 60 },
  })
    .setProtectedHeader({ alg, ...(keyId === undefined ? {} : { kid: keyId }) })
    .sign(key);
}
