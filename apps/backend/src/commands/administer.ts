import type { Config } from '../config.ts';
import { addMember, createOrg, type NewLocalAccount } from '../login/local-accounts.ts';
import { openStore, openVault, withStore } from './open-backend.ts';

/** `kontext-backend migrate`: brings the schema up to date. @returns How many migrations ran. */
export async function migrate(config: Config): Promise<number> {
  const store = await openStore(config);
  try {
    const ran = await store.migrate();
    await store.maintain(new Date());
    return ran;
  } finally {
    await store.close();
  }
}

/** `kontext-backend org create`: makes an organisation and its owner; in local mode the owner gets a passcode. */
export const createOrganisationCommand = (
  config: Config,
  slug: string,
  owner: string,
): Promise<NewLocalAccount> =>
  withStore(config, async (store) => {
    const keyring = await openVault(config, store);
    return createOrg(store, keyring, { slug, owner, withPasscode: config.local }, Date.now());
  });

/** `kontext-backend user add`: adds a person; in local mode they get a passcode. */
export const addUserCommand = (
  config: Config,
  user: {
    readonly orgSlug: string;
    readonly name: string;
    readonly role: string;
    readonly groups: readonly string[];
  },
): Promise<NewLocalAccount> =>
  withStore(config, (store) => addMember(store, { ...user, withPasscode: config.local }, Date.now()));
