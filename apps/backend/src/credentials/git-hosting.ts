import { readSettings } from '../providers/quirks-of.ts';
import type { ProviderRow } from '../store/queries/providers.ts';

/** Where a credential opens git repositories over https. */
export interface GitHosting {
  /** `host`, or `host:port` where it is not the usual one. */
  readonly hosts: readonly string[];
  /** User name that goes with the token. */
  readonly user: string;
}

const github = { user: 'x-access-token', base: 'https://github.com' } as const;
const gitlab = { user: 'oauth2', base: 'https://gitlab.com' } as const;

/** By catalogue entry; what has none, such as a static key, goes by its own name. */
const hosting: Readonly<Record<string, typeof github | typeof gitlab>> = {
  ...{ github, 'github-app': github, 'github-app-user': github },
  gitlab,
};

/**
 * Tells where the credentials of a provider open git repositories; null: nowhere. A self-hosted service opens its own host alone.
 */
export function gitHostingOf(
  provider: Pick<ProviderRow, 'name' | 'kind' | 'catalogueId' | 'settings' | 'tokenEndpoint'>,
): GitHosting | null {
  const id = provider.catalogueId === '' ? provider.name : provider.catalogueId;
  const known = Object.hasOwn(hosting, id) ? hosting[id] : undefined;
  if (known === undefined) return null;
  const base = baseOf(provider, known.base);
  if (!URL.canParse(base)) return null;
  const { host } = new URL(base);
  return { hosts: host === 'github.com' ? [host, `gist.${host}`] : [host], user: known.user };
}

type Located = Pick<ProviderRow, 'kind' | 'catalogueId' | 'settings' | 'tokenEndpoint'>;

function baseOf({ kind, catalogueId, settings, tokenEndpoint }: Located, standard: string): string {
  if (kind === 'github_app') return baseOfApi(settings);
  if (kind !== 'oauth2') return standard;
  // One that is not of the catalogue may be anybody's: its token goes where it came from.
  return readSettings(settings).base ?? (catalogueId === '' ? tokenEndpoint : standard);
}

/** GitHub Enterprise Server has its API at `https://host/api/v3`. */
function baseOfApi(settings: string): string {
  const { api } = JSON.parse(settings) as { readonly api?: string };
  if (api === undefined || !URL.canParse(api)) return github.base;
  const { host, origin } = new URL(api);
  return host === 'api.github.com' ? github.base : origin;
}
