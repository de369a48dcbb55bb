import {
  decideExchange,
  type ExchangeFacts,
  type ExchangeGranted,
  tokenExchangeGrantType,
} from '@kontext/oauth';
import type { ConnectionRow } from '../store/queries/connections.ts';
import type { ProviderFact } from '../store/queries/issued-leases.ts';
import { chooseConnection } from './choose-connection.ts';
import { closestName } from './closest-name.ts';
import { makeRefusal, type RefusedCredential, refusedWith } from './outcome.ts';
import { type WantedCredential, whyMalformed } from './wanted-credential.ts';

/** What was loaded for a batch. */
export interface BatchFacts {
  readonly agent: { readonly ceilingScopes: readonly string[] | null; readonly maxTtlSeconds: number };
  readonly providers: ReadonlyMap<string, ProviderFact>;
  /** By provider id. */
  readonly connections: ReadonlyMap<string, readonly ConnectionRow[]>;
  /** For hints. */
  readonly providerNames: readonly string[];
}

/** A wanted credential that may be handed out. */
export interface GrantedCredential {
  readonly ok: true;
  readonly provider: ProviderFact['provider'];
  readonly connection: ConnectionRow;
  readonly granted: ExchangeGranted;
  /** What the credential can do, see {@link decideWanted}. */
  readonly scopes: readonly string[];
}

/**
 * Decides one wanted credential of an authenticated caller from loaded facts; pure.
 *
 * The organisation's policy speaks of tool calls alone by now, so `credential_use` is allowed; the place for it is here.
 *
 * A generic provider issues one token with all scopes of the connection: it cannot be narrowed to what was asked for. So the
 * scopes named are those of the token, and an agent whose ceiling is below them gets none.
 */
export function decideWanted(
  wanted: WantedCredential,
  facts: BatchFacts,
): GrantedCredential | RefusedCredential {
  const malformed = whyMalformed(wanted);
  if (malformed !== null) {
    return refusedWith(makeRefusal('KX_REQUEST_INVALID', 'invalid_request', null, malformed));
  }
  const found = facts.providers.get(wanted.provider);
  const candidates = found === undefined ? [] : (facts.connections.get(found.provider.id) ?? []);
  const choice = chooseConnection(candidates, wanted.resource);
  const decision = decideExchange(toExchangeFacts(wanted, facts, found, choice));
  if (!decision.ok) return refusedWith(decision, hintFor(decision.code, wanted, facts));
  if (found === undefined || choice.kind !== 'one') throw new TypeError('granted without a connection');
  const { connection } = choice;
  const scopes = decision.kind === 'static' ? [] : connection.scopes;
  const ceiling = facts.agent.ceilingScopes;
  const excess = ceiling === null ? [] : scopes.filter((scope) => !ceiling.includes(scope));
  if (excess.length > 0) {
    const message = `${found.provider.name} cannot narrow its token to what the agent may have`;
    const members = { scope: excess.join(' ') };
    return refusedWith(makeRefusal('KX_SCOPE_EXCEEDED', 'invalid_scope', null, message, members));
  }
  return { ok: true, provider: found.provider, connection, granted: decision, scopes };
}

function toExchangeFacts(
  wanted: WantedCredential,
  { agent }: BatchFacts,
  found: ProviderFact | undefined,
  choice: ReturnType<typeof chooseConnection<ConnectionRow>>,
): ExchangeFacts {
  return {
    // Client, subject and key were judged by the edge, before any fact of an organisation was loaded.
    client: { grantTypes: [tokenExchangeGrantType] },
    subject: { state: 'valid', jkt: 'proven' },
    proofJkt: 'proven',
    provider: found === undefined ? null : { ...found.provider, attached: found.attached },
    connection: toConnectionFact(found, choice),
    delivery: wanted.delivery,
    scope: [...new Set(wanted.scopes)],
    ceilings: { subject: null, agent: agent.ceilingScopes },
    policy: null,
    leaseCapSeconds: agent.maxTtlSeconds,
  };
}

function toConnectionFact(
  found: ProviderFact | undefined,
  choice: ReturnType<typeof chooseConnection<ConnectionRow>>,
): ExchangeFacts['connection'] {
  if (found === undefined || choice.kind === 'missing') return null;
  if (choice.kind === 'ambiguous') return { state: 'ambiguous', names: choice.names };
  const { id, state, scopes } = choice.connection;
  if (state === 'reauth_required') return { state, id };
  const kind = found.provider.kind === 'static' ? 'static' : 'oauth';
  // A provider that was added without scopes and named none in its answer: what the token may do is not known.
  return { state: 'connected', id, kind, scopes: scopes.length > 0 ? scopes : null };
}

function hintFor(
  code: string,
  { provider, resource }: WantedCredential,
  facts: BatchFacts,
): string | undefined {
  if (code === 'KX_PROVIDER_UNKNOWN') {
    const meant = closestName(provider, facts.providerNames);
    return meant === null ? undefined : `did you mean \`${meant}\`? \`kontext providers ls\` lists them`;
  }
  if (code !== 'KX_CONNECTION_MISSING' && code !== 'KX_CONNECTION_REAUTH_REQUIRED') return undefined;
  const isStatic = facts.providers.get(provider)?.provider.kind === 'static';
  const command = isStatic ? `kontext secrets put ${provider}` : `kontext connect ${provider}`;
  return `run \`${command}${resource === '' ? '' : ` --name ${resource}`}\``;
}
