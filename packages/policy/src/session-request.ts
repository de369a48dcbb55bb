import type { StatefulAuthorizationCall } from '@cedar-policy/cedar-wasm/web';
import { createFitter, timeFacts, userEntity } from './cedar-request.ts';

/** Who acts. */
interface Principal {
  /** `usr_…` */
  readonly user: string;
  /** Groups of the user in the organisation. */
  readonly groups: readonly string[];
  /** Role of the user in the organisation. */
  readonly role: string;
}

/** A credential that is about to be handed out or renewed: what the action `credential_use` is asked about. */
export interface CredentialUse extends Principal {
  /** Name of the provider, such as `github`. */
  readonly provider: string;
  /** Kind of the provider, such as `oauth` or `static`. */
  readonly providerKind: string;
  /** Name of the coding agent of the session; empty outside of any. */
  readonly agent: string;
  /** `ses_…`; empty outside of any session. */
  readonly session: string;
  /** What the placeholder selects beyond the provider, such as a connection's name; empty without. */
  readonly target: string;
  readonly scopes: readonly string[];
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

/** A session that is about to be opened: what the action `session_start` is asked about. */
export interface SessionStart extends Principal {
  /** Name of the coding agent, such as `claude`. */
  readonly agent: string;
  /** Empty when it is not known. */
  readonly agentVersion: string;
  readonly hostname: string;
  /** Mode the session would have. */
  readonly mode: 'observe' | 'enforce';
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

/** A question about something that is no call, and what it is about in words. */
export interface SessionRequest {
  readonly request: StatefulAuthorizationCall;
  readonly subject: string;
}

/** Turns the use of a credential into Cedar's question. Texts are made to fit as those of a call are. */
export function credentialRequest(use: CredentialUse, preparsedPolicySetId: string): SessionRequest {
  const { fit, fitList } = createFitter();
  const provider = fit(use.provider);
  const context = {
    agent: fit(use.agent),
    session: fit(use.session),
    target: fit(use.target),
    scopes: fitList(use.scopes),
    ...timeFacts(new Date(use.atMs)),
  };
  const user = userEntity(use, { fit, fitList });
  const resource = { type: 'Provider', id: provider };
  const entity = { uid: resource, attrs: { kind: fit(use.providerKind) }, parents: [] };
  const action = { type: 'Action', id: 'credential_use' };
  const request = { principal: user.uid, action, resource, context, preparsedPolicySetId };
  return { request: { ...request, entities: [user, entity] }, subject: `credential ${provider}` };
}

/** Turns the start of a session into Cedar's question. Texts are made to fit as those of a call are. */
export function sessionStartRequest(start: SessionStart, preparsedPolicySetId: string): SessionRequest {
  const { fit, fitList } = createFitter();
  const agent = fit(start.agent);
  const context = {
    agentVersion: fit(start.agentVersion),
    hostname: fit(start.hostname),
    mode: fit(start.mode),
    ...timeFacts(new Date(start.atMs)),
  };
  const user = userEntity(start, { fit, fitList });
  const resource = { type: 'Agent', id: agent };
  const entity = { uid: resource, attrs: {}, parents: [] };
  const action = { type: 'Action', id: 'session_start' };
  const request = { principal: user.uid, action, resource, context, preparsedPolicySetId };
  return { request: { ...request, entities: [user, entity] }, subject: `session of ${agent}` };
}
