import type { ConnectionRow } from '../store/queries/connections.ts';

/** What of a connection decides whether a placeholder means it. */
export type Candidate = Pick<ConnectionRow, 'userId' | 'name' | 'state'>;

/** Name of the one connection of a provider that mints: the organisation's own, made with the provider. */
const mintingConnection = 'default';

/**
 * The connection of a provider that mints. What a placeholder names after the `/` is something within its settings, not a
 * connection, and nobody has one of their own.
 */
export function chooseMinting<C extends Candidate>(candidates: readonly C[]): Choice<C> {
  const shared = candidates.filter(({ userId, name }) => userId === null && name === mintingConnection);
  return chooseConnection(shared, '');
}

/** The connection a placeholder means. `missing`: none; `ambiguous`: several, by name. */
export type Choice<C> =
  | { readonly kind: 'one'; readonly connection: C }
  | { readonly kind: 'missing' }
  | { readonly kind: 'ambiguous'; readonly names: readonly string[] };

/**
 * Picks the connection a placeholder means (design.md §4.1): the user's own, else the organisation's; `resource` is a name.
 *
 * One that was begun and never connected does not count. One the provider wants the user again for does: falling back to the
 * shared one would change, unseen, who the agent acts as.
 *
 * @param candidates Connections of one provider, the user's own and shared ones.
 * @param resource Name of the connection; empty when the placeholder has none.
 */
export function chooseConnection<C extends Candidate>(candidates: readonly C[], resource: string): Choice<C> {
  const usable = candidates.filter(({ state }) => state === 'connected' || state === 'reauth_required');
  const named = resource === '' ? usable : usable.filter(({ name }) => name === resource);
  const own = named.filter(({ userId }) => userId !== null);
  const fitting = own.length > 0 ? own : named;
  const [first] = fitting;
  if (first === undefined) return { kind: 'missing' };
  if (fitting.length === 1) return { kind: 'one', connection: first };
  return { kind: 'ambiguous', names: fitting.map(({ name }) => name) };
}
