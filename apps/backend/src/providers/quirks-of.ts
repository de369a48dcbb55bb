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
 * How a provider departs from the standards: its catalogue entry, and over it its own settings. Addresses are filled in.
 *
 * An entry that is gone, or settings of an older version that can no longer be read, leave the standard.
 */
export function quirksOf(provider: QuirkyProvider): OAuth2Quirks {
  const entry = findEntry(provider.catalogueId);
  const settings = readSettings(provider.settings);
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

/** Settings of an OAuth 2.0 provider; of another kind or format, none. */
export function readSettings(text: string): OAuth2Settings {
  try {
    return settingsSchemas.oauth2.parse(JSON.parse(text));
  } catch {
    return {};
  }
}

const ownWhoAmI = ({ url, account, scopes }: NonNullable<OAuth2Settings['whoAmI']>): WhoAmI => ({
  ...{ method: 'GET', url, account: account ?? '', scopes: scopes ?? '', scopesHeader: '', okMember: '' },
});
