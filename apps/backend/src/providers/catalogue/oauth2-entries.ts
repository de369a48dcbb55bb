/** OAuth 2.0 services, each with what it does differently (identity.md §4). */
import { type OAuth2Quirks, standardQuirks, type WhoAmI } from '../quirks.ts';
import type { CatalogueEntry } from './entry.ts';

type Given = Pick<
  CatalogueEntry,
  | 'id'
  | 'title'
  | 'authorizationEndpoint'
  | 'tokenEndpoint'
  | 'scopes'
  | 'variables'
  | 'tokenLife'
  | 'revoking'
> &
  Partial<Pick<CatalogueEntry, 'revocationEndpoint' | 'places' | 'clientAuth'>> & {
    readonly quirks?: Partial<OAuth2Quirks>;
  };

const entry = ({ quirks, ...given }: Given): CatalogueEntry => ({
  ...{ kind: 'oauth2', revocationEndpoint: '', places: {}, clientAuth: 'client_secret_post', settings: {} },
  ...{ placeholder: `{{kontext:${given.id}}}`, label: 'protocol-tested against a stand-in' },
  quirks: { ...standardQuirks, ...quirks },
  ...given,
});

const get = (url: string, account: string, more: Partial<WhoAmI> = {}): WhoAmI => ({
  ...{ method: 'GET', url, account, scopes: '', scopesHeader: '', okMember: '' },
  ...more,
});

const github = {
  authorizationEndpoint: '{base}/login/oauth/authorize',
  tokenEndpoint: '{base}/login/oauth/access_token',
  places: { base: 'https://github.com', api: 'https://api.github.com' },
  variables: ['GITHUB_TOKEN', 'GH_TOKEN'],
} as const;

const githubQuirks = {
  terminalErrors: ['bad_refresh_token'],
  revocation: 'delete-token',
  revocationUrl: '{api}/applications/{client_id}/token',
  whoAmI: get('{api}/user', 'login', {
    headers: { accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28' },
    scopesHeader: 'x-oauth-scopes',
  }),
} as const;

/** The OAuth 2.0 entries, by id. */
export const oauth2Entries: readonly CatalogueEntry[] = [
  entry({
    ...{ id: 'github', title: 'GitHub (OAuth app)', ...github, scopes: ['repo', 'read:org'] },
    tokenLife: 'does not end',
    revoking: 'the access token is deleted; other tokens of the same user and app stay',
    quirks: { ...githubQuirks, refresh: 'stable' },
  }),
  entry({
    ...{ id: 'github-app-user', title: 'GitHub App, acting as a user', ...github, scopes: [] },
    tokenLife: '8 h; the refresh token 6 months',
    revoking:
      'the access token is deleted; end the authorization under Settings → Applications for certainty about the refresh token',
    quirks: {
      ...githubQuirks,
      // A refresh ends the token before it: as late as it can be, other sessions hold that one.
      ...{ refresh: 'ends-old-token', refreshBeforeSeconds: 30 * 60 },
      narrowUrl: '{api}/applications/{client_id}/token/scoped',
    },
  }),
  entry({
    ...{ id: 'gitlab', title: 'GitLab, also self-hosted', places: { base: 'https://gitlab.com' } },
    authorizationEndpoint: '{base}/oauth/authorize',
    tokenEndpoint: '{base}/oauth/token',
    revocationEndpoint: '{base}/oauth/revoke',
    scopes: ['api'],
    variables: ['GITLAB_TOKEN', 'GL_TOKEN'],
    tokenLife: '2 h',
    revoking: 'refresh and access token end',
    quirks: {
      refresh: 'ends-old-token',
      whoAmI: get('{base}/oauth/token/info', 'resource_owner_id', { scopes: 'scope' }),
    },
  }),
  entry({
    ...{
      id: 'linear',
      title: 'Linear',
      scopes: ['read'],
      variables: ['LINEAR_API_KEY', 'LINEAR_ACCESS_TOKEN'],
    },
    authorizationEndpoint: '{base}/oauth/authorize',
    tokenEndpoint: '{api}/oauth/token',
    revocationEndpoint: '{api}/oauth/revoke',
    places: { base: 'https://linear.app', api: 'https://api.linear.app' },
    tokenLife: '24 h',
    revoking: 'refresh and access token end',
    quirks: {
      scopeSeparator: ',',
      authorizeParameters: { prompt: 'consent' },
      whoAmI: get('{api}/graphql', 'data.viewer.id', {
        ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
        body: '{"query":"{viewer{id}}"}',
      }),
    },
  }),
  entry({
    ...{
      id: 'slack',
      title: 'Slack',
      scopes: ['chat:write', 'channels:read'],
      variables: ['SLACK_BOT_TOKEN', 'SLACK_TOKEN'],
    },
    authorizationEndpoint: '{base}/oauth/v2/authorize',
    tokenEndpoint: '{base}/api/oauth.v2.access',
    revocationEndpoint: '{base}/api/auth.revoke',
    places: { base: 'https://slack.com' },
    tokenLife: '12 h with token rotation, else it does not end',
    revoking: 'the access token revokes itself; the refresh token of a rotated one goes with it',
    quirks: {
      ...{ scopeSeparator: ',', bearerTypes: ['bot', 'user'], accountMember: 'team.id/authed_user.id' },
      revocation: 'bearer-post',
      terminalErrors: [
        'invalid_refresh_token',
        'token_revoked',
        'token_expired',
        'account_inactive',
        'invalid_auth',
      ],
      whoAmI: get('{base}/api/auth.test', 'team_id/user_id', {
        ...{ method: 'POST', okMember: 'ok', scopesHeader: 'x-oauth-scopes' },
      }),
    },
  }),
  entry({
    ...{ id: 'google', title: 'Google', scopes: ['openid', 'email'] },
    variables: ['GOOGLE_OAUTH_ACCESS_TOKEN', 'CLOUDSDK_AUTH_ACCESS_TOKEN'],
    authorizationEndpoint: '{accounts}/o/oauth2/v2/auth',
    tokenEndpoint: '{base}/token',
    revocationEndpoint: '{base}/revoke',
    places: {
      base: 'https://oauth2.googleapis.com',
      accounts: 'https://accounts.google.com',
      api: 'https://openidconnect.googleapis.com',
    },
    tokenLife: '1 h',
    revoking: 'the whole grant of this user to this client ends',
    quirks: {
      refresh: 'stable',
      authorizeParameters: { access_type: 'offline', prompt: 'consent', include_granted_scopes: 'true' },
      whoAmI: get('{api}/v1/userinfo', 'sub'),
    },
  }),
  entry({
    ...{ id: 'notion', title: 'Notion', scopes: [], variables: ['NOTION_TOKEN', 'NOTION_API_KEY'] },
    authorizationEndpoint: '{base}/v1/oauth/authorize',
    tokenEndpoint: '{base}/v1/oauth/token',
    revocationEndpoint: '{base}/v1/oauth/revoke',
    places: { base: 'https://api.notion.com' },
    clientAuth: 'client_secret_basic',
    tokenLife: 'often not said',
    revoking: 'the access token ends; its documentation says nothing of the refresh token',
    quirks: {
      ...{ authorizeParameters: { owner: 'user' }, tokenBody: 'json', accountMember: 'workspace_id/bot_id' },
      revocation: 'access-token',
      tokenHeaders: { 'notion-version': '2022-06-28' },
      whoAmI: get('{base}/v1/users/me', 'id', { headers: { 'notion-version': '2022-06-28' } }),
    },
  }),
  entry({
    ...{
      id: 'atlassian',
      title: 'Atlassian (Jira, Confluence)',
      scopes: ['offline_access', 'read:me', 'read:jira-work'],
    },
    variables: ['ATLASSIAN_TOKEN', 'JIRA_API_TOKEN'],
    authorizationEndpoint: '{base}/authorize',
    tokenEndpoint: '{base}/oauth/token',
    places: { base: 'https://auth.atlassian.com', api: 'https://api.atlassian.com' },
    tokenLife: '1 h; a refresh token that was used works for 10 min more',
    revoking: 'nothing: it has no revocation endpoint; the user ends it under Connected apps',
    quirks: {
      authorizeParameters: { audience: 'api.atlassian.com', prompt: 'consent' },
      revocation: 'none',
      terminalErrors: ['unauthorized_client'],
      whoAmI: get('{api}/me', 'account_id'),
    },
  }),
];
