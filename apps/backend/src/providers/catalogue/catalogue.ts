import { expandAddress } from '../quirks.ts';
import type { CatalogueEntry } from './entry.ts';
import { mintedEntries } from './minted-entries.ts';
import { oauth2Entries } from './oauth2-entries.ts';
import { staticEntries } from './static-entries.ts';

/** Every service kontext knows by name: OAuth first, then what is minted, then static keys. */
export const catalogue: readonly CatalogueEntry[] = [...oauth2Entries, ...mintedEntries, ...staticEntries];

const byId: ReadonlyMap<string, CatalogueEntry> = new Map(catalogue.map((entry) => [entry.id, entry]));

/** An entry; null for an id the catalogue does not have, the empty one included. */
export const findEntry = (id: string): CatalogueEntry | null => byId.get(id) ?? null;

/**
 * The values of an entry's places.
 *
 * @param settings `base` and `api` of the provider. A base that is given alone also serves for the places that are not:
 *   nothing of a self-hosted service may go to the public one.
 */
export function placesOf(
  entry: CatalogueEntry | null,
  settings: { readonly base?: string | undefined; readonly api?: string | undefined },
): Readonly<Record<string, string>> {
  const { base, api } = settings;
  const places: Record<string, string> = { ...entry?.places };
  if (base !== undefined) for (const name of Object.keys(places)) places[name] = base;
  if (api !== undefined) places.api = api;
  return places;
}

/** The endpoints of an entry with its places filled in. */
export const endpointsOf = (
  { authorizationEndpoint, tokenEndpoint, revocationEndpoint }: CatalogueEntry,
  places: Readonly<Record<string, string>>,
) => ({
  authorizationEndpoint: expandAddress(authorizationEndpoint, places),
  tokenEndpoint: expandAddress(tokenEndpoint, places),
  revocationEndpoint: expandAddress(revocationEndpoint, places),
});
