/** Kinds whose credentials are made per lease; `settings` shows what has to be filled in. */
import { standardQuirks } from '../quirks.ts';
import type { CatalogueEntry } from './entry.ts';

type Given = Pick<
  CatalogueEntry,
  'id' | 'title' | 'kind' | 'variables' | 'placeholder' | 'settings' | 'tokenLife' | 'revoking'
>;

const entry = (given: Given): CatalogueEntry => ({
  ...{ authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '', places: {}, scopes: [] },
  ...{ clientAuth: 'none', quirks: { ...standardQuirks, revocation: 'none' } },
  label: 'protocol-tested against a stand-in',
  ...given,
});

/** The minted kinds, by id. */
export const mintedEntries: readonly CatalogueEntry[] = [
  entry({
    ...{ id: 'github-app', title: 'GitHub App, acting as itself', kind: 'github_app' },
    settings: {
      ...{ app: 'Iv1.0123456789abcdef', installation: 1 },
      sets: { app: { repositories: ['app'], permissions: { contents: 'read', issues: 'write' } } },
    },
    ...{ variables: ['GITHUB_TOKEN', 'GH_TOKEN'], placeholder: '{{kontext:github-app/app}}' },
    ...{ tokenLife: '1 h', revoking: 'the token is revoked when its lease ends' },
  }),
  entry({
    ...{ id: 'aws', title: 'AWS STS', kind: 'aws_sts' },
    settings: {
      region: 'eu-central-1',
      roles: {
        prod: {
          arn: 'arn:aws:iam::123456789012:role/agents',
          policies: { read: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: '*' }] },
        },
      },
    },
    variables: ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'],
    placeholder: '{{kontext:aws/prod/secret-access-key}}',
    ...{ tokenLife: '15 min to 12 h', revoking: 'nothing: credentials of STS cannot be recalled, they end' },
  }),
  entry({
    ...{ id: 'postgres', title: 'PostgreSQL roles', kind: 'postgres' },
    settings: { databases: { 'prod-readonly': { database: 'app', role: 'readers' } } },
    ...{ variables: ['DATABASE_URL', 'PGPASSWORD'], placeholder: '{{kontext:postgres/prod-readonly}}' },
    ...{ tokenLife: 'that of the lease', revoking: 'its connections are ended and the role is dropped' },
  }),
  entry({
    ...{
      id: 'token-exchange',
      title: 'Any server that speaks RFC 8693',
      kind: 'token_exchange',
      settings: {
        ...{ issuer: 'https://id.example.com', tokenEndpoint: 'https://id.example.com/oauth/token' },
        ...{ clientId: 'kontext', clientAuth: 'client_secret_basic' },
        targets: { api: {} },
      },
    },
    ...{ variables: [], placeholder: '{{kontext:token-exchange/api}}' },
    ...{ tokenLife: 'that server decides', revoking: 'as that server offers it' },
  }),
];
