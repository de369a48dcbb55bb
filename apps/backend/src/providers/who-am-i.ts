import { errorName, memberAt, parseObject, scopesOf, splitScopes, textAt } from './answer-members.ts';
import { type OAuth2Deps, send } from './oauth2-http.ts';
import type { WhoAmI } from './quirks.ts';

/** What a provider says about a credential. */
export type Identity =
  | {
      readonly works: true;
      /** Null: it does not say. */
      readonly account: string | null;
      /** Null: it does not say. */
      readonly scopes: readonly string[] | null;
    }
  | { readonly works: false /** In words. */; readonly why: string };

/** A few kilobytes are enough to name an account; lists of models are longer. */
const maxBodyBytes = 1024 * 1024;

/**
 * Asks a provider whose credential it is. The credential goes into a header, never into the address.
 *
 * @returns Whether it works, and for whom.
 * @throws KontextError `KX_PROVIDER_UNREACHABLE` when the provider gives no answer that says so.
 */
export async function askWhoAmI(
  name: string,
  deps: OAuth2Deps,
  question: WhoAmI,
  credential: string,
): Promise<Identity> {
  const { name: header, prefix } = question.header ?? { name: 'authorization', prefix: 'Bearer ' };
  // A header cannot carry it, and so the provider would not take it.
  if (!/^[\x20-\x7e]+$/.test(credential))
    return { works: false, why: 'it holds characters no header can carry' };
  const answer = await send(name, deps, question.url, {
    method: question.method,
    headers: {
      ...{ accept: 'application/json', 'user-agent': 'kontext' },
      ...question.headers,
      [header]: `${prefix}${credential}`,
    },
    ...(question.method === 'POST' ? { body: question.body ?? '' } : {}),
    timeoutMs: 5_000,
    maxBodyBytes,
  });
  if (answer.status === 401) return { works: false, why: `${name} does not accept it` };
  if (answer.status < 200 || answer.status > 299)
    return { works: false, why: `${name} answered ${answer.status}` };
  const json = parseObject(answer.body);
  if (question.okMember !== '' && json?.[question.okMember] !== true) {
    const error = typeof json?.error === 'string' ? ` ${errorName(json.error, [credential])}` : '';
    return { works: false, why: `${name} answered${error === '' ? ' an error' : error}` };
  }
  if (question.account !== '' && textAt(json, question.account) === null) {
    return { works: false, why: `${name} did not say whose it is` };
  }
  const listed = answer.headers[question.scopesHeader];
  const inBody = question.scopes === '' ? null : scopesOf(memberAt(json, question.scopes));
  return {
    works: true,
    account: textAt(json, question.account),
    scopes: question.scopesHeader !== '' && listed !== undefined ? splitScopes(listed) : inBody,
  };
}
