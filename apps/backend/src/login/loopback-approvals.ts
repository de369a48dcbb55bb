import type { IncomingMessage, ServerResponse } from 'node:http';
import { KontextError } from '@kontext/errors';
import { errors, type Provider } from 'oidc-provider';
import type { BrowserAccount } from './browser-sessions.ts';
import { grantableScopes, saveGrant } from './device-approvals.ts';
import { type Logins, loopbackAcr } from './logins.ts';
import type { OidcAdapters } from './oidc-adapter.ts';

/** A loopback login that waits for its person. */
export interface PendingLoopback {
  readonly uid: string;
  readonly clientId: string;
  readonly clientName: string;
  /** As the terminal states it. */
  readonly machine: string | null;
  /** Which organisation's login page to begin with. */
  readonly organisation: string | null;
  /** Where the browser goes afterwards, `http://127.0.0.1:<port>/callback`. */
  readonly redirectUri: string;
}

/** The request and answer a browser is served by; the library finds its signed cookie there. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** The person's half of the authorization code flow of a terminal (RFC 8252). */
export interface LoopbackApprovals {
  /**
   * The login this very browser began.
   *
   * @throws KontextError `KX_NOT_FOUND` when it is unknown, over, or was begun by another browser: whoever is lured to
   *   somebody else's link approves nothing.
   */
  find(exchange: Exchange, uid: string): Promise<PendingLoopback>;
  /**
   * Decides once.
   *
   * @returns Where to send the browser: back to the authorization server, which sends it to the terminal.
   * @throws KontextError `KX_NOT_FOUND`, as {@link LoopbackApprovals.find}, and when it was decided before.
   */
  decide(exchange: Exchange, uid: string, decision: LoopbackDecision): Promise<string>;
}

/** Who decided what, where. */
export interface LoopbackDecision {
  readonly approve: boolean;
  readonly account: BrowserAccount;
  readonly address: string;
}

/** What approvals need besides the authorization server. */
export interface LoopbackApprovalsOptions {
  readonly apiUrl: string;
  readonly logins: Pick<Logins, 'begin'>;
}

/** Longest a decided interaction is remembered: its own life. */
const interactionSeconds = 600;

/** Creates the approvals. */
export function createLoopbackApprovals(
  provider: Provider,
  adapters: Pick<OidcAdapters, 'claimDecision'>,
  { apiUrl, logins }: LoopbackApprovalsOptions,
): LoopbackApprovals {
  const load = async ({ request, response }: Exchange, uid: string) => {
    const interaction = await provider.interactionDetails(request, response).catch((cause: unknown) => {
      if (cause instanceof errors.SessionNotFound) throw unknown(cause);
      throw cause;
    });
    if (interaction.uid !== uid) throw unknown();
    return interaction;
  };
  return {
    find: async (exchange, uid) => {
      const { params } = await load(exchange, uid);
      const clientId = String(params.client_id);
      const client = await provider.Client.find(clientId);
      return {
        uid,
        clientId,
        clientName: client?.clientName ?? clientId,
        machine: textOf(params.machine),
        organisation: textOf(params.organisation),
        redirectUri: String(params.redirect_uri),
      };
    },
    decide: async (exchange, uid, { approve, account, address }) => {
      const { params } = await load(exchange, uid);
      if (!(await adapters.claimDecision(`interaction:${uid}`, interactionSeconds))) throw unknown();
      const { request, response } = exchange;
      if (!approve) {
        const denied = { error: 'access_denied', error_description: 'the login was denied in the browser' };
        return provider.interactionResult(request, response, denied);
      }
      const clientId = String(params.client_id);
      const scopes = grantableScopes(String(params.scope ?? ''));
      const grantId = await saveGrant(provider, { account, clientId, apiUrl, scopes });
      await logins.begin(grantId, { account, clientId, machine: textOf(params.machine), address });
      const ts = Math.floor(account.loggedInAtMs / 1000);
      const login = { accountId: account.userId, acr: loopbackAcr, ts, remember: false };
      return provider.interactionResult(request, response, { login, consent: { grantId } });
    },
  };
}

const textOf = (value: unknown): string | null =>
  typeof value === 'string' && value !== '' ? value.slice(0, 255) : null;

const unknown = (cause?: unknown): KontextError =>
  new KontextError('KX_NOT_FOUND', 'this login is not known', {
    why: 'it is over, was decided already, or was begun in another browser',
    hint: 'go back to your terminal and run `kontext login --loopback` again',
    ...(cause === undefined ? {} : { cause }),
  });
