/** Logins of terminals: one row per OAuth grant. Reading works under every role; the rows of a grant need role `system`. */
import { and, desc, eq, gt, inArray, isNull, lt, or, type SQL, sql } from 'drizzle-orm';
import { logins, oidcPayloads, orgs, users } from '../schema.ts';
import type { Tx } from '../tx.ts';

/** A login as stored. */
export type LoginRow = typeof logins.$inferSelect;

/** Whose logins are meant; what is left out does not narrow. At least one member has to be set. */
export interface LoginFilter {
  readonly userId?: string | undefined;
  /** As `hashOidcId('Grant', …)` gives it. */
  readonly grantIdHash?: string | undefined;
  readonly identityProviderId?: string | undefined;
  /** Session at that identity provider. */
  readonly upstreamSid?: string | undefined;
}

/** Stores a login; does nothing when its grant has one. */
export async function insertLogin(tx: Tx, row: typeof logins.$inferInsert): Promise<void> {
  await tx.insert(logins).values(row).onConflictDoNothing();
}

/** A login by its grant, ended ones too. */
export async function findLogin(tx: Tx, grantIdHash: string): Promise<LoginRow | null> {
  const [row] = await tx.select().from(logins).where(eq(logins.grantIdHash, grantIdHash)).limit(1);
  return row ?? null;
}

/** Short name of the organisation; empty when there is none of that id. */
export async function findOrgSlug(tx: Tx, orgId: string): Promise<string> {
  const [row] = await tx.select({ slug: orgs.slug }).from(orgs).where(eq(orgs.id, orgId)).limit(1);
  return row?.slug ?? '';
}

/** A login with whether its person may log in at all. */
export interface LoginStanding {
  readonly login: LoginRow;
  readonly userDisabled: boolean;
}

/** How a login stands, by its grant. */
export async function findLoginStanding(tx: Tx, grantIdHash: string): Promise<LoginStanding | null> {
  const [row] = await tx
    .select({ login: logins, userDisabled: sql<boolean>`${users.disabledAt} IS NOT NULL` })
    .from(logins)
    .innerJoin(users, and(eq(users.orgId, logins.orgId), eq(users.id, logins.userId)))
    .where(eq(logins.grantIdHash, grantIdHash))
    .limit(1);
  return row ?? null;
}

/** Hash of the grant a refresh token came from, also when it was used, has ended or expired; role `system`. */
export async function findGrantOfRefreshToken(tx: Tx, idHash: string): Promise<string | null> {
  const [row] = await tx
    .select({ grantIdHash: oidcPayloads.grantIdHash })
    .from(oidcPayloads)
    .where(
      and(inArray(oidcPayloads.model, ['RefreshToken', endedRefreshToken]), eq(oidcPayloads.idHash, idHash)),
    )
    .limit(1);
  return row?.grantIdHash ?? null;
}

/** Notes that a login is used, unless that was noted after `unlessAfter`. */
export async function touchLogin(tx: Tx, grantIdHash: string, now: Date, unlessAfter: Date): Promise<void> {
  await tx
    .update(logins)
    .set({ lastUsedAt: now })
    .where(and(eq(logins.grantIdHash, grantIdHash), lt(logins.lastUsedAt, unlessAfter)));
}

/** Live logins of a person, newest first. @param idleSince Used at that instant or before: idle for too long. */
export async function listLiveLogins(
  tx: Tx,
  userId: string,
  now: Date,
  idleSince: Date,
): Promise<LoginRow[]> {
  return tx
    .select()
    .from(logins)
    .where(
      and(
        eq(logins.userId, userId),
        isNull(logins.revokedAt),
        gt(logins.absoluteExpiresAt, now),
        gt(logins.lastUsedAt, idleSince),
      ),
    )
    .orderBy(desc(logins.createdAt), desc(logins.grantIdHash))
    .limit(500);
}

/** Marks logins as ended. @returns Those it ended. */
export async function markLoginsEnded(
  tx: Tx,
  orgId: string,
  filter: LoginFilter,
  reason: string,
  now: Date,
): Promise<LoginRow[]> {
  const { userId, grantIdHash, identityProviderId, upstreamSid } = filter;
  const narrow = [
    userId === undefined ? undefined : eq(logins.userId, userId),
    grantIdHash === undefined ? undefined : eq(logins.grantIdHash, grantIdHash),
    identityProviderId === undefined ? undefined : eq(logins.identityProviderId, identityProviderId),
    upstreamSid === undefined ? undefined : eq(logins.upstreamSid, upstreamSid),
  ];
  return tx
    .update(logins)
    .set({ revokedAt: now, endReason: reason })
    .where(and(eq(logins.orgId, orgId), isNull(logins.revokedAt), ...narrow))
    .returning();
}

/** Model of what is left of a refresh token that ended before its time: it says which login it belonged to, nothing more. */
export const endedRefreshToken = 'EndedRefreshToken';

/**
 * Takes from grants everything that could still be exchanged for a token; role `system`. Refresh tokens leave a trace, so that
 * their holder can be told why.
 */
export async function endGrantRows(tx: Tx, grantIdHashes: readonly string[]): Promise<void> {
  if (grantIdHashes.length === 0) return;
  const ofGrants = inArray(oidcPayloads.grantIdHash, [...grantIdHashes]);
  await tx
    .delete(oidcPayloads)
    .where(
      or(
        and(eq(oidcPayloads.model, 'Grant'), inArray(oidcPayloads.idHash, [...grantIdHashes])),
        and(
          ofGrants,
          sql`${oidcPayloads.model} NOT IN ('RefreshToken', ${sql.raw(`'${endedRefreshToken}'`)})`,
        ),
      ),
    );
  await endRefreshTokens(tx, ofGrants);
}

/** Leaves a trace of one refresh token, see {@link endGrantRows}. */
export const endRefreshToken = (tx: Tx, idHash: string): Promise<void> =>
  endRefreshTokens(tx, eq(oidcPayloads.idHash, idHash));

/** The same for every refresh token of one grant. */
export const endRefreshTokensOfGrant = (tx: Tx, grantIdHash: string): Promise<void> =>
  endRefreshTokens(tx, eq(oidcPayloads.grantIdHash, grantIdHash));

/** Ids of the grants of a person, also of those without a login row; role `system`. */
export async function listGrantsOf(tx: Tx, userId: string): Promise<string[]> {
  const rows = await tx
    .select({ idHash: oidcPayloads.idHash })
    .from(oidcPayloads)
    .where(and(eq(oidcPayloads.model, 'Grant'), eq(oidcPayloads.accountId, userId)));
  return rows.map(({ idHash }) => idHash);
}

/** Logs people out of their browsers; role `system`. */
export async function endBrowserLogins(
  tx: Tx,
  orgId: string,
  { userId, identityProviderId, upstreamSid }: Omit<LoginFilter, 'grantIdHash'>,
): Promise<void> {
  const says = (name: string, value: string | undefined): SQL | undefined =>
    value === undefined ? undefined : sql`${oidcPayloads.payload}::jsonb ->> ${name} = ${value}`;
  await tx
    .delete(oidcPayloads)
    .where(
      and(
        eq(oidcPayloads.model, 'BrowserLogin'),
        userId === undefined ? undefined : eq(oidcPayloads.accountId, userId),
        says('orgId', orgId),
        says('identityProviderId', identityProviderId),
        says('upstreamSid', upstreamSid),
      ),
    );
}

async function endRefreshTokens(tx: Tx, which: SQL): Promise<void> {
  await tx
    .update(oidcPayloads)
    .set({ model: endedRefreshToken, payload: '{}', accountId: null })
    .where(and(eq(oidcPayloads.model, 'RefreshToken'), which));
}
