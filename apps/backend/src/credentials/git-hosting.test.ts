import { expect, test } from 'vitest';
import { makeTestProvider } from '../store/test-provider.ts';
import { gitHostingOf } from './git-hosting.ts';

const provider = (given: Partial<Parameters<typeof makeTestProvider>[0]>) =>
  makeTestProvider({ orgId: 'org', name: 'any', ...given });

test.each([
  [{ catalogueId: 'github' }, ['github.com', 'gist.github.com'], 'x-access-token'],
  [{ catalogueId: 'github-app-user' }, ['github.com', 'gist.github.com'], 'x-access-token'],
  [{ catalogueId: 'gitlab' }, ['gitlab.com'], 'oauth2'],
  [
    { catalogueId: 'gitlab', settings: '{"base":"https://git.example:8443"}' },
    ['git.example:8443'],
    'oauth2',
  ],
  [{ name: 'gitlab', tokenEndpoint: 'https://git.corp.example/oauth/token' }, ['git.corp.example'], 'oauth2'],
  [{ name: 'github', kind: 'static' as const }, ['github.com', 'gist.github.com'], 'x-access-token'],
  [
    {
      catalogueId: 'github-app',
      kind: 'github_app' as const,
      settings: '{"api":"https://ghe.example/api/v3"}',
    },
    ['ghe.example'],
    'x-access-token',
  ],
  [
    { catalogueId: 'github-app', kind: 'github_app' as const },
    ['github.com', 'gist.github.com'],
    'x-access-token',
  ],
])('%j opens %j', (given, hosts, user) => {
  expect(gitHostingOf(provider(given))).toEqual({ hosts, user });
});

test.each([{ name: 'acme' }, { name: 'github', catalogueId: 'linear' }, { name: 'constructor' }])(
  '%j opens no git repository',
  (given) => {
    expect(gitHostingOf(provider(given))).toBeNull();
  },
);
