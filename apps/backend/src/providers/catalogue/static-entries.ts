/** Services that give out keys; a key is stored as it is and handed out as it is, so a lease of it is advisory. */
import { standardQuirks, type WhoAmI } from '../quirks.ts';
import type { CatalogueEntry } from './entry.ts';

const entry = (
  id: string,
  title: string,
  variables: readonly string[],
  whoAmI: WhoAmI | null = null,
): CatalogueEntry => ({
  ...{ id, title, kind: 'static', variables, clientAuth: 'none', scopes: [], places: {}, settings: {} },
  ...{ authorizationEndpoint: '', tokenEndpoint: '', revocationEndpoint: '' },
  ...{ placeholder: `{{kontext:${id}}}`, quirks: { ...standardQuirks, revocation: 'none', whoAmI } },
  ...{
    tokenLife: 'does not end',
    revoking: 'nothing: the key is forgotten here, and has to be deleted there',
  },
  label: 'stored and handed out as it is; its test address was never tried',
});

const get = (url: string, account: string, more: Partial<WhoAmI> = {}): WhoAmI => ({
  ...{ method: 'GET', url, account, scopes: '', scopesHeader: '', okMember: '' },
  ...more,
});

/** The static keys, by id. */
export const staticEntries: readonly CatalogueEntry[] = [
  entry('stripe', 'Stripe', ['STRIPE_API_KEY', 'STRIPE_SECRET_KEY']),
  entry('npm', 'npm', ['NPM_TOKEN', 'NODE_AUTH_TOKEN']),
  entry('pypi', 'PyPI', ['TWINE_PASSWORD', 'UV_PUBLISH_TOKEN']),
  entry('docker-hub', 'Docker Hub', ['DOCKER_PASSWORD', 'DOCKERHUB_TOKEN']),
  entry('openai', 'OpenAI', ['OPENAI_API_KEY'], get('https://api.openai.com/v1/models', '')),
  entry(
    'anthropic',
    'Anthropic',
    ['ANTHROPIC_API_KEY'],
    get('https://api.anthropic.com/v1/models', '', {
      header: { name: 'x-api-key', prefix: '' },
      headers: { 'anthropic-version': '2023-06-01' },
    }),
  ),
  entry(
    'datadog',
    'Datadog',
    ['DD_API_KEY', 'DATADOG_API_KEY'],
    get('https://api.datadoghq.com/api/v1/validate', '', { header: { name: 'dd-api-key', prefix: '' } }),
  ),
  entry('sentry', 'Sentry', ['SENTRY_AUTH_TOKEN']),
  entry(
    'huggingface',
    'Hugging Face',
    ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'],
    get('https://huggingface.co/api/whoami-v2', 'name'),
  ),
  entry(
    'cloudflare',
    'Cloudflare',
    ['CLOUDFLARE_API_TOKEN', 'CF_API_TOKEN'],
    get('https://api.cloudflare.com/client/v4/user/tokens/verify', 'result.id', { okMember: 'success' }),
  ),
  entry('digitalocean', 'DigitalOcean', ['DIGITALOCEAN_ACCESS_TOKEN', 'DIGITALOCEAN_TOKEN']),
  entry('vercel', 'Vercel', ['VERCEL_TOKEN']),
];
