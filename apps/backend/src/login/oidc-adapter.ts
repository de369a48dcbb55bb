/**
 * The authorization server's storage, and what its own adapter contract leaves open (identity.md §1):
 *
 * - G1: `consume` succeeds for one of parallel callers; the others get `invalid_grant`.
 * - G2: a rotated refresh token leads to its one successor for {@link graceSeconds}. A rotation that a process died in, between
 *   the claim and the successor, can be done again after {@link abandonedAfterSeconds}: the token still counts as unused.
 * - A refresh token that is destroyed leaves a trace without value, so that its holder can be told why (`logins.ts`).
 * - G3: rows are keyed by hashes; token values are taken out of the payload and put back on read. What a dump of the
 *   database holds cannot be used. A successor is encrypted under a key made from the value of its predecessor.
 * - A replay row is inserted, never replaced, so that of two parallel requests with one proof one is refused.
 */
import { createHash, createHmac } from 'node:crypto';
import { type Adapter, type AdapterPayload, errors, Provider } from 'oidc-provider';
import { endRefreshToken, endRefreshTokensOfGrant } from '../store/queries/logins.ts';
import * as rows from '../store/queries/oidc.ts';
import type { Store } from '../store/store.ts';
import type { Tx } from '../store/tx.ts';
import { openSuccessor, sealSuccessor } from './refresh-successor.ts';

/** Seconds for which a rotated refresh token still leads to its successor. */
export const graceSeconds = 20;

/** Whoever took the right to rotate a token and stored no successor for so long has died in between. */
export const abandonedAfterSeconds = 10;

/** Seconds a device code's row outlives it, so that a late poll hears `expired_token` and not "unknown". */
const deviceCodeAfterlifeSeconds = 900;
/** The same for a refresh token, so that a person who comes back late is told that the login expired. */
const refreshTokenAfterlifeSeconds = 30 * 86_400;

const scope = { role: 'system', orgId: null } as const;

/** Makes the adapters of all models, and what our own code asks of the same rows. */
export interface OidcAdapters {
  /** One adapter per model, as `oidc-provider` wants it. */
  readonly factory: (model: string) => Adapter;
  /** Takes the right to rotate a refresh token; false when somebody else took it. */
  claimRotation(refreshToken: string): Promise<boolean>;
  /** Value of the token that replaced a rotated one, within the grace; null when there is none (yet). */
  findSuccessor(refreshToken: string): Promise<string | null>;
  /** Takes the right to decide a device code; false when it was decided before. */
  claimDecision(deviceCode: string, ttlSeconds: number): Promise<boolean>;
  /** Counts a poll of a pending device code, for all replicas together; true when it came too early (RFC 8628 §3.5). */
  isPollTooEarly(deviceCode: string, pace: rows.PollPace): Promise<boolean>;
}

/** How an id is stored: SHA-256 of model and value. Ids of the server carry 256 random bits, so no key is needed. */
export const hashOidcId = (model: string, id: string): string =>
  createHash('sha256').update(`${model}:${id}`).digest('base64url');

/**
 * Marks an id that is a hash already. Rows found by user code or uid go by such a handle, because their value is unknown;
 * it writes, but never finds: a handle made from a dump is no token.
 */
const handleMark = '#';
const idHashOf = (model: string, id: string): string =>
  id.startsWith(handleMark) ? id.slice(handleMark.length) : hashOidcId(model, id);

/**
 * Creates the adapters.
 *
 * @param userCodeKey 32 bytes. User codes have 34 bits: an unkeyed hash of one could be reversed.
 */
export function createOidcAdapters(store: Store, userCodeKey: Buffer, nowMs: () => number): OidcAdapters {
  const hashUserCode = (code: string): string =>
    createHmac('sha256', userCodeKey).update(code).digest('base64url');
  const claimed = new Set<string>();
  const run = <T>(work: Parameters<typeof store.transaction<T>>[1]): Promise<T> =>
    store.transaction(scope, work);

  const consume = (model: string, id: string): Promise<boolean> =>
    run((tx) => rows.consumeOidcRow(tx, model, idHashOf(model, id), new Date(nowMs())));
  const inGrace = (row: rows.StoredOidcRow): boolean =>
    row.consumedAt !== null && nowMs() - row.consumedAt.getTime() <= graceSeconds * 1000;

  const findSuccessor = async (value: string): Promise<string | null> => {
    const row = await run((tx) =>
      rows.findOidcRow(tx, 'RefreshToken', 'idHash', hashOidcId('RefreshToken', value)),
    );
    if (!row || !inGrace(row)) return null;
    const { successor } = JSON.parse(row.payload) as { successor?: string };
    return successor === undefined ? null : openSuccessor(value, successor);
  };

  const toRow = (
    model: string,
    id: string,
    payload: AdapterPayload,
    ttlSeconds: number | undefined,
  ): rows.OidcRow => encodeRow(model, id, payload, ttlSeconds, nowMs(), hashUserCode);

  const save = async (model: string, row: rows.OidcRow, id: string): Promise<void> => {
    const predecessor = model === 'RefreshToken' ? rotatedToken() : null;
    const saved = await run(async (tx) => {
      if (model === 'ReplayDetection') return rows.insertOidcRow(tx, row);
      await rows.upsertOidcRow(tx, row);
      if (predecessor !== null && predecessor !== id) await linkSuccessor(tx, predecessor, id);
      return true;
    });
    if (!saved) throw new errors.InvalidGrant('DPoP proof JWT Replay detected');
  };

  const read = async (model: string, key: rows.OidcKey, hash: string, known: Partial<AdapterPayload>) => {
    const row = await run((tx) => rows.findOidcRow(tx, model, key, hash));
    if (!row) return undefined;
    // While the winner of a rotation has not stored the successor yet, the losers must not look like thieves.
    const { successor, ...payload } = JSON.parse(row.payload) as AdapterPayload & { successor?: string };
    const isRotating = model === 'RefreshToken' && (successor === undefined || inGrace(row));
    const isConsumed = row.consumedAt !== null && !isRotating;
    const consumed = isConsumed ? { consumed: Math.floor((row.consumedAt?.getTime() ?? 0) / 1000) } : {};
    return { ...payload, jti: `${handleMark}${row.idHash}`, ...known, ...consumed };
  };

  return {
    claimRotation: async (value) => {
      const abandonedBefore = new Date(nowMs() - abandonedAfterSeconds * 1000);
      const won = await run((tx) =>
        rows.claimRefreshToken(tx, hashOidcId('RefreshToken', value), new Date(nowMs()), abandonedBefore),
      );
      if (won) claimed.add(value);
      return won;
    },
    findSuccessor,
    claimDecision: (deviceCode, ttlSeconds) =>
      run((tx) =>
        rows.insertOidcRow(
          tx,
          toRow('DeviceDecision', deviceCode, {}, ttlSeconds + deviceCodeAfterlifeSeconds),
        ),
      ),
    isPollTooEarly: (deviceCode, pace) => {
      const now = new Date(nowMs());
      const expiresAt = new Date(nowMs() + deviceCodeAfterlifeSeconds * 1000);
      return run((tx) =>
        rows.countDevicePoll(tx, hashOidcId('DevicePoll', deviceCode), pace, now, expiresAt),
      );
    },
    factory: (model) => ({
      upsert: (id, payload, ttlSeconds) => save(model, toRow(model, id, payload, ttlSeconds), id),
      find: async (id) => {
        if (id.startsWith(handleMark)) return undefined;
        const value = model === 'RefreshToken' ? ((await findSuccessor(id)) ?? id) : id;
        return read(model, 'idHash', hashOidcId(model, value), { jti: value });
      },
      // The value of a row found this way is known to its holder alone: the row goes by its handle.
      findByUserCode: (userCode) => read(model, 'userCodeHash', hashUserCode(userCode), { userCode }),
      findByUid: (uid) => read(model, 'uidHash', hashOidcId('uid', uid), {}),
      consume: async (id) => {
        if (claimed.delete(id) || (await consume(model, id))) return;
        throw new errors.InvalidGrant('it was used already');
      },
      destroy: (id) => run((tx) => removeRow(tx, model, idHashOf(model, id))),
      revokeByGrantId: (grantId) => run((tx) => removeRowsOfGrant(tx, model, hashOidcId('Grant', grantId))),
    }),
  };
}

const removeRow = (tx: Tx, model: string, idHash: string): Promise<void> =>
  model === 'RefreshToken' ? endRefreshToken(tx, idHash) : rows.deleteOidcRow(tx, model, idHash);

const removeRowsOfGrant = (tx: Tx, model: string, grantIdHash: string): Promise<void> =>
  model === 'RefreshToken'
    ? endRefreshTokensOfGrant(tx, grantIdHash)
    : rows.deleteOidcRowsOfGrant(tx, model, grantIdHash);

/** The token that the current request is replacing, when it is. */
function rotatedToken(): string | null {
  const ctx = Provider.ctx as { oidc?: { entities?: { RotatedRefreshToken?: { jti: string } } } } | undefined;
  return ctx?.oidc?.entities?.RotatedRefreshToken?.jti ?? null;
}

async function linkSuccessor(tx: Tx, predecessor: string, successor: string): Promise<void> {
  const idHash = hashOidcId('RefreshToken', predecessor);
  const row = await rows.findOidcRow(tx, 'RefreshToken', 'idHash', idHash);
  if (!row) return;
  const payload = {
    ...(JSON.parse(row.payload) as object),
    successor: sealSuccessor(predecessor, successor),
  };
  await rows.setOidcPayload(tx, 'RefreshToken', idHash, JSON.stringify(payload));
}

/** An interaction's payload repeats the session's cookie, which is a login. Nothing reads it back. */
function withoutCookie(payload: AdapterPayload): AdapterPayload {
  if (payload.session?.cookie === undefined) return payload;
  const { cookie: _cookie, ...session } = payload.session;
  return { ...payload, session };
}

const afterlives: Readonly<Record<string, number>> = {
  DeviceCode: deviceCodeAfterlifeSeconds,
  RefreshToken: refreshTokenAfterlifeSeconds,
};

function encodeRow(
  model: string,
  id: string,
  payload: AdapterPayload,
  ttlSeconds: number | undefined,
  nowMs: number,
  hashUserCode: (code: string) => string,
): rows.OidcRow {
  const { jti: _jti, userCode, ...rest } = payload;
  const afterlife = afterlives[model] ?? 0;
  return {
    model,
    idHash: idHashOf(model, id),
    payload: JSON.stringify(withoutCookie(rest)),
    grantIdHash: payload.grantId === undefined ? null : hashOidcId('Grant', payload.grantId),
    userCodeHash: userCode === undefined ? null : hashUserCode(userCode),
    uidHash: payload.uid === undefined ? null : hashOidcId('uid', payload.uid),
    accountId: payload.accountId ?? null,
    createdAt: new Date(nowMs),
    expiresAt: ttlSeconds === undefined ? null : new Date(nowMs + (ttlSeconds + afterlife) * 1000),
  };
}
