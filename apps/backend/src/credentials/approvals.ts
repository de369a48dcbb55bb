/**
 * A person's approval before a credential of some providers leaves (`providers.approval` = `user`; CIBA Core §11 on the wire).
 *
 * One approval holds for one provider in one session, or outside of any for one login. It is asked for as a confirmation of
 * `login/confirmations.ts`: the same page, the same fresh browser login. Unlike that of an RPC it is not used up: while its
 * session goes on, whatever is resolved again needs no second one. Denied, it stays so until the question expires.
 */
import { createHash, createHmac } from 'node:crypto';
import { createId } from '@kontext/audit';
import type { ApprovalFact } from '@kontext/oauth';
import { appendServerEvents, type ServerEvent } from '../audit/append-server-event.ts';
import { hashOidcId } from '../login/oidc-adapter.ts';
import { confirmationSeconds } from '../login/request-confirmation.ts';
import {
  type ConfirmationRow,
  findConfirmationsByRequest,
  findLoginMachine,
  insertConfirmation,
  keepConfirmations,
} from '../store/queries/confirmations.ts';
import type { ProviderRow } from '../store/queries/providers.ts';
import type { Tx } from '../store/tx.ts';
import type { ExchangeRequest } from './exchange-request.ts';

/** Seconds between two looks of a client that waits. */
const intervalSeconds = 2;
/** A session ends long before; then the approval is worth nothing, and its row may go. */
const keptMs = 30 * 86_400_000;

/** What approvals need. */
export interface ApprovalDeps {
  readonly apiUrl: string;
  /** 32 bytes, the same on every replica: `keys.derive('approval')`. */
  readonly approvalKey: Buffer;
}

/** Whose approval, and for what. */
type Asker = Pick<ExchangeRequest, 'caller' | 'sessionId'>;
type Asked = Pick<ProviderRow, 'id' | 'name'>;

/**
 * What a person said about the providers of a request that want it, by provider id; those nobody was asked about are missing.
 */
export async function loadApprovals(
  tx: Tx,
  deps: ApprovalDeps,
  request: Asker,
  providers: readonly Pick<ProviderRow, 'id' | 'approval'>[],
  now: Date,
): Promise<Map<string, ApprovalFact>> {
  const wanting = providers.filter(({ approval }) => approval === 'user');
  if (wanting.length === 0) return new Map();
  const hashes = new Map(wanting.map(({ id }) => [requestHash(deps, request, id), id]));
  const rows = await findConfirmationsByRequest(tx, request.caller.userId, [...hashes.keys()], now);
  const facts = new Map<string, ApprovalFact>();
  for (const row of rows) {
    const providerId = hashes.get(row.requestHash);
    // The newest comes first.
    if (providerId !== undefined && !facts.has(providerId)) facts.set(providerId, toFact(deps, row));
  }
  const given = rows.filter(({ state }) => state === 'confirmed').map(({ id }) => id);
  await keepConfirmations(tx, given, now, new Date(now.getTime() + keptMs));
  return facts;
}

/**
 * Asks a person about providers nobody was asked about, in the transaction that decided to.
 *
 * Writes to the organisation's stream: call it last.
 *
 * @returns The members of each refusal, by provider id.
 */
export async function askApprovals(
  tx: Tx,
  deps: ApprovalDeps,
  request: Asker & { readonly agent: string },
  providers: readonly Asked[],
  now: Date,
): Promise<Map<string, Extract<ApprovalFact, { state: 'pending' }>>> {
  if (providers.length === 0) return new Map();
  const { orgId, userId, grantId } = request.caller;
  const machine = await findLoginMachine(tx, hashOidcId('Grant', grantId));
  const asked = new Map<string, Extract<ApprovalFact, { state: 'pending' }>>();
  const events: ServerEvent[] = [];
  for (const provider of providers) {
    const row = makeRow(deps, request, provider, machine, now);
    await insertConfirmation(tx, row);
    asked.set(provider.id, { state: 'pending', members: membersOf(deps, row.id) });
    const { id: confirmation, action, summary } = row;
    const facts = { confirmation, action, summary, machine, session: request.sessionId };
    events.push({ kind: 'approval.requested', user: userId, agent: request.agent, facts });
  }
  await appendServerEvents(tx, { orgId, sessionId: null }, events, now);
  return asked;
}

function makeRow(
  deps: ApprovalDeps,
  request: Asker & { readonly agent: string },
  { id: providerId, name }: Asked,
  machine: string | null,
  now: Date,
): ConfirmationRow {
  const { orgId, userId, grantId } = request.caller;
  const id = createId('cnf', now.getTime());
  const where =
    request.sessionId === null ? 'outside of any session' : `until the session ${request.sessionId} ends`;
  return {
    ...{ id, orgId, userId, action: 'CredentialService/ResolveCredentials', state: 'pending', machine },
    summary: `let the agent ${request.agent} use credentials of ${name}, ${where}`,
    requestHash: requestHash(deps, request, providerId),
    tokenHash: createHash('sha256').update(linkToken(deps, id)).digest('base64url'),
    requesterGrantHash: hashOidcId('Grant', grantId),
    ...{ address: '', authAt: null, acr: null, decidedAt: null, usedAt: null, createdAt: now },
    expiresAt: new Date(now.getTime() + confirmationSeconds * 1000),
  };
}

function toFact(deps: ApprovalDeps, { id, state }: ConfirmationRow): ApprovalFact {
  if (state === 'denied') return { state: 'denied' };
  if (state === 'pending') return { state: 'pending', members: membersOf(deps, id) };
  return { state: 'given' };
}

const membersOf = (deps: ApprovalDeps, id: string) => ({
  ...{ auth_req_id: id, interval: intervalSeconds },
  confirm_uri: `${deps.apiUrl}/confirm/${linkToken(deps, id)}`,
});

/** Made from the id, so that whoever asks again gets the same link. */
const linkToken = ({ approvalKey }: ApprovalDeps, id: string): string =>
  createHmac('sha256', approvalKey).update(`kontext-approval-link-v1\0${id}`).digest('base64url');

/** None of the parts holds NUL, which ends each of them. */
const requestHash = ({ approvalKey }: ApprovalDeps, { caller, sessionId }: Asker, providerId: string) =>
  createHmac('sha256', approvalKey)
    .update(['kontext-approval-v1', caller.userId, sessionId ?? caller.grantId, providerId].join('\0'))
    .digest('base64url');
