import type { Adapter, AdapterPayload } from 'oidc-provider';

interface Row {
  readonly payload: AdapterPayload;
  readonly expiresAtMs: number;
}

/** Every token value ever issued, so that a test can search foreign places for them. */
export interface IssuedTokens {
  readonly accessTokens: string[];
  readonly refreshTokens: string[];
}

/**
 * Storage of the stand-in upstream: plain memory, plus the habit of GitHub and GitLab that a new access token of a
 * grant ends the one before.
 */
export class MemoryStorage {
  readonly issued: IssuedTokens = { accessTokens: [], refreshTokens: [] };
  readonly #rows = new Map<string, Row>();

  /** The adapter that `oidc-provider` asks for, one per model name. */
  adapterFor(model: string): Adapter {
    const key = (id: string) => `${model}:${id}`;
    return {
      upsert: async (id, payload, expiresIn) => this.#upsert(model, key(id), payload, expiresIn),
      find: async (id) => this.#find(key(id)),
      findByUid: async (uid) => this.#findBy(model, (payload) => payload.uid === uid),
      findByUserCode: async (code) => this.#findBy(model, (payload) => payload.userCode === code),
      consume: async (id) => {
        const row = this.#rows.get(key(id));
        if (row !== undefined) row.payload.consumed = Math.floor(Date.now() / 1000);
      },
      destroy: async (id) => void this.#rows.delete(key(id)),
      revokeByGrantId: async (grantId) => this.#remove((_, payload) => payload.grantId === grantId),
    };
  }

  /** Ends every grant and token; clients stay registered. */
  revokeAll(): void {
    this.#remove((key) => !key.startsWith('Client:'));
  }

  #upsert(model: string, key: string, payload: AdapterPayload, expiresInSeconds: number | undefined): void {
    if (model === 'AccessToken' && !this.#rows.has(key)) {
      this.#remove((other, row) => other.startsWith('AccessToken:') && row.grantId === payload.grantId);
      this.issued.accessTokens.push(String(payload.jti));
    }
    if (model === 'RefreshToken' && !this.#rows.has(key)) this.issued.refreshTokens.push(String(payload.jti));
    const expiresAtMs = expiresInSeconds ? Date.now() + expiresInSeconds * 1000 : Number.POSITIVE_INFINITY;
    this.#rows.set(key, { payload, expiresAtMs });
  }

  #find(key: string): AdapterPayload | undefined {
    const row = this.#rows.get(key);
    return row === undefined || row.expiresAtMs <= Date.now() ? undefined : row.payload;
  }

  #findBy(model: string, matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined {
    for (const [key, row] of this.#rows) {
      if (key.startsWith(`${model}:`) && matches(row.payload)) return this.#find(key);
    }
    return undefined;
  }

  #remove(matches: (key: string, payload: AdapterPayload) => boolean): void {
    for (const [key, row] of this.#rows) {
      if (matches(key, row.payload)) this.#rows.delete(key);
    }
  }
}
