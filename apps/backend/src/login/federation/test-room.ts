import {
  type Browser,
  createBrowser,
  type IdentityProvider,
  type Page,
  startIdentityProvider,
} from '@kontext/testkit';
import { createAppendSignal } from '../../audit/append-signal.ts';
import { createSafeFetch } from '../../providers/safe-fetch.ts';
import type { IdentityProviderRow } from '../../store/queries/identity-providers.ts';
import type { TestStore, TestStoreKind } from '../../store/test-stores.ts';
import { startTestApp, type TestApp } from '../../test-app.ts';
import { wire } from '../../wiring.ts';
import { backchannelUrl, type FederationDeps, loginCallbackUrl } from './deps.ts';
import { addIdentityProvider, type IdentityProviderInput } from './identity-providers.ts';
import { createRelyingParty } from './relying-party.ts';

/** A whole backend, somebody else's identity provider, and ways to put them together. */
export interface FederationRoom {
  readonly opened: TestStore;
  readonly app: TestApp;
  readonly idp: IdentityProvider;
  readonly deps: FederationDeps;
  readonly orgId: string;
  /** Adds an identity provider to an organisation (default: that of the app) and registers us there. */
  addProvider(input?: Partial<IdentityProviderInput>, more?: AddOptions): Promise<IdentityProviderRow>;
  close(): Promise<void>;
}

/** Where a provider is added, and which one. */
export interface AddOptions {
  readonly orgId?: string;
  readonly idp?: IdentityProvider;
}

/** Starts the room. */
export async function startFederationRoom(open: TestStoreKind['open']): Promise<FederationRoom> {
  const opened = await open();
  const idp = await startIdentityProvider();
  let captured: FederationDeps | undefined;
  const app = await startTestApp(opened.store, {
    wire: (parts) => {
      const [signingKey] = parts.keys.signing;
      if (signingKey === undefined) throw new Error('no signing key');
      const fetch = createSafeFetch({ allowLoopback: true });
      const relyingParty = createRelyingParty({ fetch, local: true, signingKey, nowMs: parts.nowMs });
      const verifierKey = parts.keys.derive('federation-pkce')[0];
      captured = { ...parts, appended: createAppendSignal(), relyingParty, verifierKey };
      return wire(parts);
    },
  });
  if (captured === undefined) throw new Error('the app was not wired');
  const deps = captured;
  const { orgId } = app.owner;
  return {
    ...{ opened, app, idp, deps, orgId },
    addProvider: (input, more) => addProvider(deps, orgId, idp, input, more),
    close: async () => {
      await app.close();
      await idp.stop();
      await opened.close();
    },
  };
}

let clients = 0;

async function addProvider(
  deps: FederationDeps,
  orgId: string,
  idp: IdentityProvider,
  input: Partial<IdentityProviderInput> = {},
  more: AddOptions = {},
): Promise<IdentityProviderRow> {
  clients += 1;
  const provider = more.idp ?? idp;
  const described = describeProvider(provider, {
    clientId: `client-${clients}`,
    name: `idp-${clients}`,
    ...input,
  });
  const row = await addIdentityProvider(deps, { orgId: more.orgId ?? orgId, userId: null }, described);
  await provider.putClient({
    clientId: row.clientId,
    ...(described.clientSecret === '' ? {} : { clientSecret: described.clientSecret }),
    authMethod: row.clientAuth,
    redirectUris: [loginCallbackUrl(deps.apiUrl, row.callbackId)],
    backchannelLogoutUri: backchannelUrl(deps.apiUrl, row.callbackId),
  });
  return row;
}

/** A description that is complete but for what a test is about. */
export const describeProvider = (
  { issuer }: Pick<IdentityProvider, 'issuer'>,
  input: Partial<IdentityProviderInput> = {},
): IdentityProviderInput => ({
  ...{ name: 'acme', issuer, clientId: 'client', clientSecret: 'a-secret-of-the-client', clientAuth: '' },
  ...{ scopes: [], groupsClaim: '', groupRoles: {}, emailDomains: [], admitsNewMembers: true },
  revalidateSeconds: 0,
  ...input,
});

/** Walks from the login page through an identity provider, as a person who says it is the one of that name. */
export async function walkLogin(
  app: Pick<TestApp, 'apiUrl'>,
  provider: Pick<IdentityProviderRow, 'id'>,
  options: { readonly browser?: Browser; readonly returnTo?: string; readonly maxAge?: string } = {},
): Promise<Page> {
  const browser = options.browser ?? createBrowser();
  const query = new URLSearchParams({
    return_to: options.returnTo ?? '/activate',
    max_age: options.maxAge ?? '',
  });
  const page = await browser.open(`${app.apiUrl}/login?${query}`);
  const form = page.forms.find(({ action }) => action.startsWith('/login'));
  if (form === undefined) throw new Error(`no login form: ${page.html}`);
  return browser.submit(page, { ...form, action: '/login/provider' }, { provider: provider.id });
}
