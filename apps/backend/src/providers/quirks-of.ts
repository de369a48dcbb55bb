import { KontextError } from '@kontext/errors';
import { findEntry, placesOf } from './catalogue/catalogue.ts';
import { expandAddress, type OAuth2Quirks, standardQuirks, type WhoAmI } from './quirks.ts';
import { type OAuth2Settings, settingsSchemas } from './settings.ts';

/** What of a stored provider its quirks depend on. */
export interface QuirkyProvider {
  readonly catalogueId: string;
  readonly clientId: string;
  readonly issuer: string;
  /** JSON text, checked when it was stored. */
  readonly settings: string;
}

/**
 * How a provider departs from the standards: its catalogue entry, and over it its own settings. Addresses are filled in. An
 * entry that is gone leaves the standard.
 *
 * @throws KontextError `KX_PROVIDER_INVALID` as {@link requireSettings}.
 */
export function quirksOf(provider: QuirkyProvider): OAuth2Quirks {
  const entry = findEntry(provider.catalogueId);
  const settings = requireSettings(provider.settings);
  const base = entry?.quirks ?? standardQuirks;
  const places = { ...placesOf(entry, settings), client_id: encodeURIComponent(provider.clientId) };
  const whoAmI = settings.whoAmI === undefined ? base.whoAmI : ownWhoAmI(settings.whoAmI);
  return {
    ...base,
    ...(settings.scopeSeparator === undefined
      ? {}
      : { scopeSeparator: settings.scopeSeparator === 'comma' ? ',' : ' ' }),
    ...(settings.tokenBody === undefined ? {} : { tokenBody: settings.tokenBody }),
    ...(settings.refreshBeforeSeconds === undefined
      ? {}
      : { refreshBeforeSeconds: settings.refreshBeforeSeconds }),
    ...(settings.tokenOf === 'user' ? { scopeParameter: 'user_scope', tokenMember: 'authed_user' } : {}),
    authorizeParameters: { ...base.authorizeParameters, ...settings.authorizeParameters },
    assertionAudience: settings.assertionAudience ?? (provider.issuer === '' ? 'token_endpoint' : 'issuer'),
    assertionKeyId: settings.keyId ?? '',
    revocationUrl: expandAddress(base.revocationUrl, places),
    narrowUrl: expandAddress(base.narrowUrl, places),
    whoAmI: whoAmI === null ? null : { ...whoAmI, url: expandAddress(whoAmI.url, places) },
  };
}

/** Settings of an OAuth 2.0 provider, to say something about it; of another kind or format, none. */
export function readSettings(text: string): OAuth2Settings {
  return parseSettings(text) ?? {};
}

/**
 * Settings of an OAuth 2.0 provider, before a credential is sent or handed out by them: without them a token of a self-hosted
 * service would go to the public one, and one that is to be narrowed would be handed out as it is.
 *
 * @throws KontextError `KX_PROVIDER_INVALID` when they cannot be read, as those another version stored.
 */
export function requireSettings(text: string): OAuth2Settings {
  const settings = parseSettings(text);
  if (settings !== null) return settings;
  throw new KontextError('KX_PROVIDER_INVALID', 'the stored settings of the provider cannot be read', {
    hint: 'an administrator has to remove the provider and add it again',
  });
}

function parseSettings(text: string): OAuth2Settings | null {
  try {
    return settingsSchemas.oauth2.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

const ownWhoAmI = ({ url, account, scopes }: NonNullable<OAuth2Settings['whoAmI']>): WhoAmI => ({
  ...{ method: 'GET', url, account: account ?? '', scopes: scopes ?? '', scopesHeader: '', okMember: '' },
});
