import { KontextError } from '@kontext/errors';
import {
  type ApprovalFact,
  decideExchange,
  type ExchangeFacts,
  type ExchangeGranted,
  leaseCap,
  tokenExchangeGrantType,
} from '@kontext/oauth';
import type { Minter, MintersByKind, MintTarget } from '../providers/minted/minter.ts';
import type { ConnectionRow } from '../store/queries/connections.ts';
import type { ProviderFact } from '../store/queries/credential-facts.ts';
import { chooseConnection, chooseMinting } from './choose-connection.ts';
import { closestName } from './closest-name.ts';
import { asksUser, type CredentialDecisions, toPolicyFact } from './credential-policy.ts';
import type { ExchangeSource } from './exchange-request.ts';
import { makeRefusal, type RefusedCredential, refusedWith } from './outcome.ts';
import { keyOf, type WantedCredential, whyMalformed } from './wanted-credential.ts';

/** What was loaded for a batch. */
export interface BatchFacts {
  readonly agent: { readonly ceilingScopes: readonly string[] | null; readonly maxTtlSeconds: number };
  readonly providers: ReadonlyMap<string, ProviderFact>;
  /** By provider id. */
  readonly connections: ReadonlyMap<string, readonly ConnectionRow[]>;
  readonly minters: MintersByKind;
  /** For hints. */
  readonly providerNames: readonly string[];
  /** What it is exchanged from; null: the login itself. */
  readonly source: SourceFact | null;
  /** Null: nobody knows. */
  readonly loginAgeSeconds: number | null;
  /** By provider id, of those that want one. */
  readonly approvals: ReadonlyMap<string, ApprovalFact>;
  readonly policy: CredentialDecisions;
}

/** Bounds of what credentials are exchanged from. */
export interface SourceFact extends Pick<ExchangeSource, 'scopesLeftOf'> {
  /** Null: no end of its own. */
  readonly leftSeconds: number | null;
}

/** A wanted credential that may be handed out. */
export interface GrantedCredential {
  readonly ok: true;
  readonly provider: ProviderFact['provider'];
  readonly connection: ConnectionRow;
  readonly granted: ExchangeGranted;
  /** What the credential can do, see {@link decideWanted}. */
  readonly scopes: readonly string[];
  /** How it is made; null when it is fetched. */
  readonly mint: MeantMint | null;
}

/** What is to be minted, and by whom. */
export interface MeantMint {
  readonly minter: Minter;
  readonly target: MintTarget;
}

/**
 * Decides one wanted credential of an authenticated caller from loaded facts; pure.
 *
 * What the organisation's policy says was asked before (`credential-policy.ts`); where it asks, it is as if the provider wanted a
 * person's approval.
 *
 * A generic provider issues one token with all scopes of the connection: the scopes named are those of the token, not those asked
 * for; where a ceiling is below them there is none.
 */
export function decideWanted(
  wanted: WantedCredential,
  facts: BatchFacts,
): GrantedCredential | RefusedCredential {
  const malformed = whyMalformed(wanted);
  if (malformed !== null) {
    return refusedWith(makeRefusal('KX_REQUEST_INVALID', 'invalid_request', null, malformed));
  }
  const left = facts.source === null ? 'all' : facts.source.scopesLeftOf(wanted.provider);
  if (left === 'nothing') return refusedWith(beyondSource(wanted.provider));
  const found = facts.providers.get(wanted.provider);
  const candidates = found === undefined ? [] : (facts.connections.get(found.provider.id) ?? []);
  const mint = found?.attached === true ? findMint(found, wanted, facts.minters) : null;
  if (mint !== null && 'refusal' in mint) return mint;
  const choice = mint === null ? chooseConnection(candidates, wanted.resource) : chooseMinting(candidates);
  const exchange = toExchangeFacts(wanted, facts, found, choice, left, mint);
  const decision = decideExchange(exchange);
  if (!decision.ok) return refusedWith(decision, hintFor(decision.code, wanted, facts));
  if (mint !== null && decision.scope.length === 0 && isBounded(mint.target, exchange.ceilings)) {
    return refusedWith(nothingLeft(wanted.provider));
  }
  if (mint !== null && (decision.expiresInCapSeconds ?? 0) < mint.target.ttlSeconds.min) {
    return refusedWith(tooShort(wanted.provider, mint.target, decision.expiresInCapSeconds));
  }
  if (found === undefined || choice.kind !== 'one') throw new TypeError('granted without a connection');
  const { connection } = choice;
  const scopes = decision.kind === 'oauth' ? connection.scopes : decision.scope;
  return { ok: true, provider: found.provider, connection, granted: decision, scopes, mint };
}

/**
 * What a credential can do beyond the scopes that were named: a granted token has all scopes of its connection, and where none
 * are named, what is made has all that its target allows.
 *
 * @param candidates Connections of the provider.
 */
export function scopesUnasked(
  wanted: WantedCredential,
  found: ProviderFact,
  candidates: readonly ConnectionRow[],
  minters: MintersByKind,
): readonly string[] {
  if (found.provider.kind !== 'oauth2' && wanted.scopes.length > 0) return [];
  const mint = findMint(found, wanted, minters);
  if (mint !== null) return 'target' in mint ? (mint.target.scopes ?? []) : [];
  const choice = chooseConnection(candidates, wanted.resource);
  return choice.kind === 'one' ? choice.connection.scopes : [];
}

/** How a credential of a provider is made; null when it is not made but fetched. */
function findMint(
  { provider }: ProviderFact,
  { resource }: WantedCredential,
  minters: MintersByKind,
): MeantMint | RefusedCredential | null {
  const minter = minters[provider.kind];
  if (minter === undefined) return null;
  try {
    return { minter, target: minter.target(provider, resource) };
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    return refusedWith(makeRefusal(error.code, 'invalid_target', null, error.message), error.hint);
  }
}

/** Whether no scope at all means that the ceilings left none; a minter would read it as everything its target allows. */
const isBounded = ({ scopes }: MintTarget, ceilings: ExchangeFacts['ceilings']): boolean =>
  scopes?.length !== 0 &&
  [scopes, ceilings.subject, ceilings.attachment, ceilings.agent].some((bound) => (bound ?? []).length > 0);

const nothingLeft = (provider: string) => {
  const message = `the ceilings leave nothing of what ${provider} can make`;
  return makeRefusal('KX_SCOPE_EXCEEDED', 'invalid_scope', null, message, { scope: '' });
};

const tooShort = (provider: string, { ttlSeconds }: MintTarget, capSeconds: number | null) => {
  const message = `${provider} makes nothing that ends within ${capSeconds ?? 0} s; the least is ${ttlSeconds.min} s`;
  return makeRefusal('KX_MINT_REFUSED', 'invalid_target', null, message);
};

const beyondSource = (provider: string) =>
  makeRefusal('KX_SCOPE_EXCEEDED', 'invalid_scope', null, `the token is not for ${provider.slice(0, 63)}`, {
    scope: `credential:${provider.slice(0, 63)}`,
  });

function toExchangeFacts(
  wanted: WantedCredential,
  { agent, source, loginAgeSeconds, approvals, policy }: BatchFacts,
  found: ProviderFact | undefined,
  choice: ReturnType<typeof chooseConnection<ConnectionRow>>,
  left: 'all' | readonly string[],
  mint: MeantMint | null,
): ExchangeFacts {
  const { leaseTtlSeconds = 0, id = '' } = found?.provider ?? {};
  const approval = approvals.get(id);
  const said = policy.get(keyOf(wanted));
  const asking = asksUser(said) ? { approval: 'user' as const } : {};
  return {
    // Client, subject and key were judged by the edge, before any fact of an organisation was loaded.
    client: { grantTypes: [tokenExchangeGrantType] },
    subject: { state: 'valid', jkt: 'proven' },
    proofJkt: 'proven',
    provider: found === undefined ? null : { ...found.provider, ...asking, attached: found.attached },
    connection: toConnectionFact(found, choice, mint),
    delivery: wanted.delivery,
    requestedKind: wanted.requestedKind ?? null,
    scope: [...new Set(wanted.scopes)],
    ceilings: {
      subject: left === 'all' ? null : left,
      attachment: found?.ceilingScopes ?? null,
      agent: agent.ceilingScopes,
    },
    policy: toPolicyFact(said),
    leaseCapSeconds: leaseCap(agent.maxTtlSeconds, leaseTtlSeconds, source?.leftSeconds ?? null),
    loginAgeSeconds,
    ...(approval === undefined ? {} : { approval }),
  };
}

function toConnectionFact(
  found: ProviderFact | undefined,
  choice: ReturnType<typeof chooseConnection<ConnectionRow>>,
  mint: MeantMint | null,
): ExchangeFacts['connection'] {
  if (found === undefined || choice.kind === 'missing') return null;
  if (choice.kind === 'ambiguous') return { state: 'ambiguous', names: choice.names };
  const { id, state, scopes } = choice.connection;
  if (state === 'reauth_required') return { state, id };
  const kind = kindOf(found.provider.kind);
  if (mint !== null) return { state: 'connected', id, kind, scopes: mint.target.scopes };
  // A provider that was added without scopes and named none in its answer: what the token may do is not known.
  return { state: 'connected', id, kind, scopes: scopes.length > 0 ? scopes : null };
}

/** What a provider of that kind gives. */
const kindOf = (kind: ProviderFact['provider']['kind']): ExchangeGranted['kind'] =>
  kind === 'static' ? 'static' : kind === 'oauth2' ? 'oauth' : 'minted';

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
