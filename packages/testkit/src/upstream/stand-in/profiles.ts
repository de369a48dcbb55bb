/** The habits of the catalogue's OAuth services (identity.md §4), one profile each. */
import type { StandInAnswer, StandInCall, StandInGrant, StandInProfile, StandInTokens } from './stand-in.ts';

const ok = (body: unknown, headers: Readonly<Record<string, string>> = {}): StandInAnswer => ({
  ...{ status: 200, headers, body },
});
const unauthorized: StandInAnswer = { status: 401, body: { message: 'Bad credentials' } };

/** RFC 6749 §5.1. */
const members = ({ accessToken, refreshToken, expiresInSeconds, grant }: StandInTokens, separator = ' ') => ({
  ...{ access_token: accessToken, token_type: 'bearer', scope: grant.scopes.join(separator) },
  ...(refreshToken === null ? {} : { refresh_token: refreshToken }),
  ...(expiresInSeconds === null ? {} : { expires_in: expiresInSeconds }),
});

const standard: Pick<
  StandInProfile,
  'clientAuth' | 'tokenBody' | 'scopeParameter' | 'scopeSeparator' | 'answer' | 'refuse'
> = {
  clientAuth: 'post',
  tokenBody: 'form',
  scopeParameter: 'scope',
  scopeSeparator: ' ',
  answer: (tokens: StandInTokens) => ok(members(tokens)),
  refuse: (error: string) => ({ status: error === 'invalid_client' ? 401 : 400, body: { error } }),
};

/** RFC 7009: everything of the grant ends; a token nobody knows is fine. */
function revokeGrant({ grants, body }: StandInCall): StandInAnswer {
  const grant = findByToken(grants, String(body.token));
  if (grant) grants.delete(grant);
  return ok({});
}

const findByToken = (grants: Set<StandInGrant>, value: string): StandInGrant | undefined =>
  [...grants].find(({ accessTokens, refreshToken }) => accessTokens.has(value) || refreshToken === value);

function deleteToken({ isBasic, body, grants }: StandInCall): StandInAnswer {
  if (!isBasic) return unauthorized;
  const value = String(body.access_token);
  const grant = [...grants].find(({ accessTokens }) => accessTokens.has(value));
  if (!grant) return { status: 404, body: { message: 'Not Found' } };
  grant.accessTokens.delete(value);
  return { status: 204, body: undefined };
}

/** GitHub asks every caller of its API for a name. */
const withUserAgent =
  (serve: (call: StandInCall) => StandInAnswer) =>
  (call: StandInCall): StandInAnswer =>
    call.headers['user-agent'] === undefined
      ? {
          status: 403,
          headers: { 'content-type': 'text/plain' },
          body: 'Request forbidden by administrative rules.',
        }
      : serve(call);

/** Form-encoded unless JSON is asked for; errors with status 200. */
const github: StandInProfile = {
  ...standard,
  authorizePath: '/login/oauth/authorize',
  tokenPath: '/login/oauth/access_token',
  refresh: 'none',
  expiresInSeconds: null,
  answer: (tokens) =>
    tokens.headers.accept?.includes('application/json')
      ? ok(members(tokens, ','))
      : ok(new URLSearchParams({ access_token: tokens.accessToken, token_type: 'bearer' }).toString(), {
          'content-type': 'application/x-www-form-urlencoded; charset=utf-8',
        }),
  refuse: (error) =>
    ok({
      error:
        { invalid_grant: 'bad_verification_code', invalid_client: 'incorrect_client_credentials' }[error] ??
        error,
      error_description: 'see the docs',
    }),
  routes: {
    'GET /user': withUserAgent(({ bearer }) =>
      bearer === null
        ? unauthorized
        : ok({ login: bearer.account, id: 1 }, { 'x-oauth-scopes': bearer.scopes.join(', ') }),
    ),
    'DELETE /applications/{client_id}/token': withUserAgent(deleteToken),
  },
};

/** Eight hours; a refresh ends the access token before it. */
const githubAppUser: StandInProfile = {
  ...github,
  refresh: 'ends-old-token',
  expiresInSeconds: 28_800,
  refuse: (error) => ok({ error: error === 'invalid_grant' ? 'bad_refresh_token' : error }),
  routes: {
    ...github.routes,
    'GET /user': withUserAgent(({ bearer }) =>
      bearer === null ? unauthorized : ok({ login: bearer.account }),
    ),
    'POST /applications/{client_id}/token/scoped': withUserAgent(({ isBasic, body, grants, issue }) => {
      if (!isBasic) return unauthorized;
      const grant = findByToken(grants, String(body.access_token));
      if (!grant) return { status: 404, body: { message: 'Not Found' } };
      if (body.target !== 'acme') return { status: 422, body: { message: 'Validation Failed' } };
      const { repositories, permissions } = body;
      const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
      return ok({ token: issue(grant), expires_at: expiresAt, installation: { repositories, permissions } });
    }),
  },
};

/** A refresh ends both tokens before it. */
const gitlab: StandInProfile = {
  ...standard,
  authorizePath: '/oauth/authorize',
  tokenPath: '/oauth/token',
  refresh: 'ends-old-token',
  expiresInSeconds: 7200,
  routes: {
    'GET /oauth/token/info': ({ bearer }) =>
      bearer === null ? unauthorized : ok({ resource_owner_id: 42, scope: bearer.scopes, expires_in: 7200 }),
    'POST /oauth/revoke': revokeGrant,
  },
};

/** Scopes with commas, also in its answer; one that comes with blanks is refused. */
const linear: StandInProfile = {
  ...standard,
  authorizePath: '/oauth/authorize',
  tokenPath: '/oauth/token',
  scopeSeparator: ',',
  refresh: 'rotates',
  expiresInSeconds: 86_400,
  checkAuthorize: (query) => (/ /.test(query.get('scope') ?? '') ? 'invalid_scope' : null),
  answer: (tokens) => ok({ ...members(tokens), scope: tokens.grant.scopes }),
  routes: {
    'POST /graphql': ({ bearer }) =>
      bearer === null ? unauthorized : ok({ data: { viewer: { id: `lin-${bearer.account}` } } }),
    'POST /oauth/revoke': revokeGrant,
  },
};

/** Everything has status 200; the user's tokens stand one level down; a refresh token works once. */
const slack: StandInProfile = {
  ...standard,
  authorizePath: '/oauth/v2/authorize',
  tokenPath: '/api/oauth.v2.access',
  scopeSeparator: ',',
  refresh: 'rotates',
  expiresInSeconds: 43_200,
  answer: (tokens) =>
    ok({
      ...{ ok: true, ...members(tokens, ','), token_type: 'bot', bot_user_id: 'U9' },
      ...{ team: { id: 'T1', name: 'Acme' }, authed_user: { id: 'U1' }, enterprise: null },
    }),
  refuse: (error) => ok({ ok: false, error: error === 'invalid_grant' ? 'invalid_refresh_token' : error }),
  routes: {
    'POST /api/auth.test': ({ bearer }) =>
      bearer === null
        ? ok({ ok: false, error: 'invalid_auth' })
        : ok({ ok: true, team_id: 'T1', user_id: 'U9' }, { 'x-oauth-scopes': bearer.scopes.join(',') }),
    'POST /api/auth.revoke': ({ bearer, grants }) => {
      if (bearer === null) return ok({ ok: false, error: 'invalid_auth' });
      grants.delete(bearer);
      return ok({ ok: true, revoked: true });
    },
  },
};

/** The same app, asked for the user's own tokens: nothing on top at first, all of it on top after a refresh. */
const slackUser: StandInProfile = {
  ...slack,
  scopeParameter: 'user_scope',
  answer: (tokens) => {
    const own = { ...members(tokens, ','), token_type: 'user' };
    const isFirst = tokens.grant.used.size === 0;
    const team = { id: 'T1' };
    return ok({ ok: true, team, ...(isFirst ? { authed_user: { id: 'U1', ...own } } : own) });
  },
};

/** A refresh token only for those who ask so; it stays the same. */
const google: StandInProfile = {
  ...standard,
  authorizePath: '/o/oauth2/v2/auth',
  tokenPath: '/token',
  refresh: 'stable',
  expiresInSeconds: 3599,
  givesRefreshToken: (query) => query.get('access_type') === 'offline' && query.get('prompt') === 'consent',
  routes: {
    'GET /v1/userinfo': ({ bearer }) => (bearer === null ? unauthorized : ok({ sub: '1234', email: 'a@b' })),
    'POST /revoke': (call) =>
      findByToken(call.grants, String(call.body.token))
        ? revokeGrant(call)
        : { status: 400, body: { error: 'invalid_token' } },
  },
};

/** JSON requests, basic authentication, no expiry said, a refresh token all the same. */
const notion: StandInProfile = {
  ...standard,
  authorizePath: '/v1/oauth/authorize',
  tokenPath: '/v1/oauth/token',
  clientAuth: 'basic',
  tokenBody: 'json',
  refresh: 'rotates',
  expiresInSeconds: null,
  checkAuthorize: (query) => (query.get('owner') === 'user' ? null : 'invalid_request'),
  answer: (tokens) => {
    const { access_token, token_type, refresh_token } = members(tokens);
    const found = { workspace_id: 'w1', bot_id: 'b1', workspace_name: null, duplicated_template_id: null };
    return ok({ access_token, token_type, refresh_token, ...found });
  },
  routes: {
    'GET /v1/users/me': ({ bearer, headers }) => {
      if (headers['notion-version'] === undefined) return { status: 400, body: { code: 'missing_version' } };
      return bearer === null ? unauthorized : ok({ object: 'user', id: 'b1', type: 'bot' });
    },
    'POST /v1/oauth/revoke': (call) => (call.isBasic ? revokeGrant(call) : unauthorized),
  },
};

/** Wants an audience; a refresh token that was used works for ten minutes more; nothing can be revoked. */
const atlassian: StandInProfile = {
  ...standard,
  authorizePath: '/authorize',
  tokenPath: '/oauth/token',
  expiresInSeconds: 3600,
  refresh: 'rotates',
  leewaySeconds: 600,
  checkAuthorize: (query) => (query.get('audience') === 'api.atlassian.com' ? null : 'invalid_request'),
  givesRefreshToken: (query) => (query.get('scope') ?? '').split(' ').includes('offline_access'),
  routes: {
    'GET /me': ({ bearer }) => (bearer === null ? unauthorized : ok({ account_id: `a-${bearer.account}` })),
  },
};

/** Profiles by id of the catalogue's entry; `slack` has a second one for the user's tokens. */
export const standInProfiles = {
  ...{ github, gitlab, linear, slack, google, notion, atlassian },
  ...{ 'github-app-user': githubAppUser, 'slack-user': slackUser },
} as const;
