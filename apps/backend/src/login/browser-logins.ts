import { deleteOidcRow, findOidcRow, upsertOidcRow } from '../store/queries/oidc.ts';
import type { Store } from '../store/store.ts';
import type { BrowserAccount, BrowserLogins } from './browser-sessions.ts';
import { hashOidcId } from './oidc-adapter.ts';

const model = 'BrowserLogin';
const scope = { role: 'system', orgId: null } as const;

/** Keeps logins of browsers beside the rows of the authorization server, keyed by hash, swept with them. */
export function createBrowserLogins(store: Store, nowMs: () => number): BrowserLogins {
  return {
    save: (id, account, ttlSeconds) =>
      store.transaction(scope, (tx) =>
        upsertOidcRow(tx, {
          model,
          idHash: hashOidcId(model, id),
          payload: JSON.stringify(account),
          grantIdHash: null,
          userCodeHash: null,
          uidHash: null,
          accountId: account.userId,
          createdAt: new Date(nowMs()),
          expiresAt: new Date(nowMs() + ttlSeconds * 1000),
        }),
      ),
    find: async (id) => {
      const row = await store.transaction(scope, (tx) =>
        findOidcRow(tx, model, 'idHash', hashOidcId(model, id)),
      );
      if (!row?.expiresAt || row.expiresAt.getTime() <= nowMs()) return null;
      const account = JSON.parse(row.payload) as BrowserAccount;
      // A login of before this was kept says nothing of how it came about: it has to be repeated.
      return typeof account.acr === 'string' ? account : null;
    },
    remove: (id) => store.transaction(scope, (tx) => deleteOidcRow(tx, model, hashOidcId(model, id))),
  };
}
