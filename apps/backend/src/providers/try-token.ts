import { KontextError } from '@kontext/errors';
import type { Secret } from '@kontext/redaction';
import type { OAuth2Deps } from './oauth2-http.ts';
import { type QuirkyProvider, quirksOf } from './quirks-of.ts';
import { askWhoAmI } from './who-am-i.ts';

/** What trying a credential at its provider found. */
export interface TokenTest {
  readonly works: boolean;
  /** In words, for a person. */
  readonly message: string;
  /** Null, like the next: the provider does not say, or was not asked. */
  readonly account: string | null;
  readonly scopes: readonly string[] | null;
}

/** What of a provider a test needs. */
export interface TestableProvider extends QuirkyProvider {
  readonly name: string;
}

/**
 * Tries a credential: asks the provider whose it is. Nothing is changed there.
 *
 * @param credential Access token or static key.
 * @returns Also for a provider that does not answer; `works` is then false. Never throws a `KontextError`.
 */
export async function testToken(
  provider: TestableProvider,
  deps: OAuth2Deps,
  credential: Secret,
): Promise<TokenTest> {
  const { name } = provider;
  const { whoAmI } = quirksOf(provider);
  const unknown = { account: null, scopes: null };
  if (whoAmI === null) {
    return { works: true, message: `stored; kontext knows no address at ${name} to try it`, ...unknown };
  }
  try {
    const found = await askWhoAmI(name, deps, whoAmI, credential.reveal());
    if (!found.works) return { works: false, message: found.why, ...unknown };
    const { account, scopes } = found;
    return {
      works: true,
      message: account === null ? 'it works' : `it works, as ${account}`,
      account,
      scopes,
    };
  } catch (error) {
    if (error instanceof KontextError)
      return { works: false, message: `${error.message}: ${error.why}`, ...unknown };
    throw error;
  }
}
