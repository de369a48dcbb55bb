/** Identity providers of organisations, and logins on their way to one and back. */
import { and, asc, eq, isNull, sql } from 'drizzle-orm';
import { federatedLogins, identityProviders, orgs, secrets } from '../schema.ts';
import type { Tx } from '../tx.ts';
import type { SecretRow } from './secrets.ts';

/** An identity provider as stored. */
export type IdentityProviderRow = typeof identityProviders.$inferSelect;
/** A login on its way. */
export type FederatedLoginRow = typeof federatedLogins.$inferSelect;

/** Stores an identity provider and, when it has one, our sealed client secret. */
export async function insertIdentityProvider(
  tx: Tx,
  row: IdentityProviderRow,
  clientSecret: SecretRow | null,
): Promise<void> {
  if (clientSecret) await tx.insert(secrets).values(clientSecret);
  await tx.insert(identityProviders).values(row);
}

/** Identity providers of an organisation, by name. */
export async function listIdentityProviders(tx: Tx, orgId: string): Promise<IdentityProviderRow[]> {
  return tx
    .select()
    .from(identityProviders)
    .where(eq(identityProviders.orgId, orgId))
    .orderBy(asc(identityProviders.name));
}

/** An identity provider as a login needs it, with the sealed client secret and the organisation's names. */
export interface LoginProvider {
  readonly provider: IdentityProviderRow;
  readonly secret: SecretRow | null;
  readonly orgName: string;
  readonly orgSlug: string;
}

/** An identity provider by its id; role `system`. */
export const findLoginProvider = (tx: Tx, id: string): Promise<LoginProvider | null> =>
  findOne(tx, eq(identityProviders.id, id));

/** An identity provider by the part of its callback URL; role `system`. */
export const findProviderByCallback = (tx: Tx, callbackId: string): Promise<LoginProvider | null> =>
  findOne(tx, eq(identityProviders.callbackId, callbackId));

/** An identity provider of the organisation, by name. */
export const findProviderByName = (tx: Tx, orgId: string, name: string): Promise<LoginProvider | null> =>
  findOne(tx, and(eq(identityProviders.orgId, orgId), eq(identityProviders.name, name)));

/** What the login page may show of an identity provider. */
export interface ProviderChoice {
  readonly id: string;
  readonly name: string;
  readonly orgName: string;
}

/** Identity providers of the organisation of that short name; role `system`. */
export const listProvidersOfSlug = (tx: Tx, slug: string): Promise<ProviderChoice[]> =>
  listChoices(tx, eq(orgs.slug, slug));

/** Identity providers of one organisation as the login page shows them; role `system`. */
export const listProvidersOfOrg = (tx: Tx, orgId: string): Promise<ProviderChoice[]> =>
  listChoices(tx, eq(orgs.id, orgId));

/** Identity providers that an e-mail domain belongs to; role `system`. @param domain In lower case. */
export const listProvidersOfDomain = (tx: Tx, domain: string): Promise<ProviderChoice[]> =>
  listChoices(tx, sql`${domain} = ANY(${identityProviders.emailDomains})`);

/** All of them, at most `limit`; role `system`. The login page asks nothing where there is one. */
export async function listAllProviders(tx: Tx, limit: number): Promise<ProviderChoice[]> {
  return (await listChoices(tx, undefined)).slice(0, limit);
}

/** Which of the domains another organisation's identity provider has; role `system`. */
export async function listForeignDomains(
  tx: Tx,
  orgId: string,
  domains: readonly string[],
): Promise<string[]> {
  const rows = await tx
    .select({ domains: identityProviders.emailDomains })
    .from(identityProviders)
    .where(sql`${identityProviders.orgId} <> ${orgId}`);
  const taken = new Set(rows.flatMap((row) => row.domains));
  return domains.filter((domain) => taken.has(domain));
}

/** Removes an identity provider and our client secret there; its logins on their way go with it. Role `system`. */
export async function deleteIdentityProvider(tx: Tx, row: IdentityProviderRow): Promise<void> {
  await tx.delete(identityProviders).where(eq(identityProviders.id, row.id));
  if (row.clientSecretId !== null) await tx.delete(secrets).where(eq(secrets.id, row.clientSecretId));
}

/** Remembers a login that was sent to its identity provider; role `system`. */
export async function insertFederatedLogin(tx: Tx, row: FederatedLoginRow): Promise<void> {
  await tx.insert(federatedLogins).values(row);
}

/**
 * Takes a login that came back, once; role `system`.
 *
 * @returns Null when there is none of that state at that provider in that browser, or it was taken before.
 */
export async function consumeFederatedLogin(
  tx: Tx,
  key: { readonly stateHash: string; readonly identityProviderId: string; readonly browserHash: string },
  now: Date,
): Promise<FederatedLoginRow | null> {
  const [row] = await tx
    .update(federatedLogins)
    .set({ consumedAt: now })
    .where(
      and(
        eq(federatedLogins.stateHash, key.stateHash),
        eq(federatedLogins.identityProviderId, key.identityProviderId),
        eq(federatedLogins.browserHash, key.browserHash),
        isNull(federatedLogins.consumedAt),
        sql`${federatedLogins.expiresAt} > ${now.toISOString()}::timestamptz`,
      ),
    )
    .returning();
  return row ?? null;
}

async function findOne(tx: Tx, where: ReturnType<typeof eq> | undefined): Promise<LoginProvider | null> {
  const [row] = await tx
    .select({ provider: identityProviders, secret: secrets, orgName: orgs.name, orgSlug: orgs.slug })
    .from(identityProviders)
    .innerJoin(orgs, eq(orgs.id, identityProviders.orgId))
    .leftJoin(secrets, eq(secrets.id, identityProviders.clientSecretId))
    .where(where)
    .limit(1);
  return row ?? null;
}

function listChoices(tx: Tx, where: ReturnType<typeof eq> | undefined): Promise<ProviderChoice[]> {
  return tx
    .select({ id: identityProviders.id, name: identityProviders.name, orgName: orgs.name })
    .from(identityProviders)
    .innerJoin(orgs, eq(orgs.id, identityProviders.orgId))
    .where(and(isNull(identityProviders.disabledAt), where))
    .orderBy(asc(orgs.name), asc(identityProviders.name))
    .limit(20);
}
