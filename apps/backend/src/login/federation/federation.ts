import { findInvitation } from '../../organisations/invitations.ts';
import type { SafeFetch } from '../../providers/safe-fetch.ts';
import {
  listAllProviders,
  listProvidersOfDomain,
  listProvidersOfOrg,
  listProvidersOfSlug,
  type ProviderChoice,
} from '../../store/queries/identity-providers.ts';
import { type BackchannelLogout, createBackchannelLogout } from './backchannel-logout.ts';
import { type FederationDeps, systemScope } from './deps.ts';
import {
  beginLogin,
  type FinishedLogin,
  finishLogin,
  type LoginAnswer,
  type LoginStart,
} from './federated-login.ts';

export type { ProviderChoice };

import { organisationLookups, refuseBeyond } from '../rate-limiter.ts';
import { createRevalidation, type Revalidation } from './revalidate.ts';
import { domainOf, parseEmail } from './upstream-identity.ts';

/** Logins through identity providers of organisations. */
export interface Federation extends Revalidation {
  /** The one identity provider of this backend, where it has one and no more. */
  only(): Promise<ProviderChoice | null>;
  /** Whether there is any. */
  exists(): Promise<boolean>;
  /**
   * Identity providers of an organisation by its short name, or by an e-mail address or domain of its people.
   *
   * @param address Who asks: a list of names is not to be tried out.
   * @throws KontextError `KX_RATE_LIMITED`.
   */
  find(text: string, address: string): Promise<readonly ProviderChoice[]>;
  /** See {@link beginLogin}. */
  begin(start: LoginStart): Promise<string>;
  /** See {@link finishLogin}. */
  finish(answer: LoginAnswer): Promise<FinishedLogin>;
  /** What an invitation's link is for, and where its person can log in. @throws KontextError `KX_INVITATION_INVALID`. */
  invitation(token: string): Promise<ShownInvitation>;
  readonly backchannel: BackchannelLogout;
}

/** An invitation as its page shows it. */
export interface ShownInvitation {
  readonly id: string;
  readonly orgName: string;
  readonly email: string;
  readonly role: string;
  readonly providers: readonly ProviderChoice[];
}

/**
 * Creates it; one per process, because it keeps metadata and keys of providers.
 *
 * @param fetch What keys of providers are fetched with.
 */
export function createFederation(deps: FederationDeps, fetch: SafeFetch): Federation {
  const read = deps.store.transaction;
  return {
    ...createRevalidation(deps),
    backchannel: createBackchannelLogout(deps, fetch),
    begin: (start) => beginLogin(deps, start),
    finish: (answer) => finishLogin(deps, answer),
    only: async () => {
      const [first, second] = await read(systemScope, (tx) => listAllProviders(tx, 2));
      return first !== undefined && second === undefined ? first : null;
    },
    exists: async () => (await read(systemScope, (tx) => listAllProviders(tx, 1))).length > 0,
    find: async (text, address) => {
      refuseBeyond(
        await deps.limiter.count(organisationLookups, address),
        'too many organisations were looked for from this address',
      );
      const wanted = text.trim().toLowerCase();
      const email = parseEmail(wanted);
      const domain = email === null ? wanted : domainOf(email);
      return read(systemScope, async (tx) => {
        const bySlug = email === null ? await listProvidersOfSlug(tx, wanted) : [];
        return bySlug.length > 0 ? bySlug : listProvidersOfDomain(tx, domain);
      });
    },
    invitation: async (token) => {
      const { invitation, orgName } = await findInvitation(deps, token);
      const { id, email, role, orgId } = invitation;
      const providers = await read(systemScope, (tx) => listProvidersOfOrg(tx, orgId));
      return { id, email, role, orgName, providers };
    },
  };
}
