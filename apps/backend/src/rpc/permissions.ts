/**
 * Who may call what: one row per RPC. `enforce-permissions.ts` enforces it, the compiler refuses a missing row.
 *
 * Rules: a role is checked here, and so is whether the call needs a fresh confirmation (RFC 9470); what depends on rows (one's
 * own or somebody else's) is checked by the work. What is not in the table is refused.
 */
import type { DescMethod, DescService, MessageShape } from '@bufbuild/protobuf';
import {
  AgentService,
  ApprovalService,
  AuditService,
  ConfirmationService,
  ConnectionService,
  CredentialService,
  IdentityProviderService,
  LoginService,
  OrganisationService,
  PolicyService,
  ProviderService,
  SessionService,
  SinkService,
  WebhookService,
} from '@kontext/protocol';
import type { Caller } from '../caller.ts';
import * as sentence from './confirmation-sentences.ts';

/** What a member can be in the organisation. */
export type Role = 'owner' | 'admin' | 'security' | 'approver' | 'auditor' | 'member';

/** One row: who may call an RPC, and whether a person has to confirm it. */
export interface Permission<Message> {
  readonly roles: 'everybody' | readonly Role[];
  /** The sentence a person confirms in the browser; null when this message needs none. Left out: none ever does. */
  readonly confirm?: (message: Message, caller: Pick<Caller, 'userId'>) => string | null;
  /** Whether a delegation token (with `act`) may call it; default no. */
  readonly delegated?: true;
}

/** Every service of the wire, by its name. */
export const services = {
  AgentService,
  ApprovalService,
  AuditService,
  ConfirmationService,
  ConnectionService,
  CredentialService,
  IdentityProviderService,
  LoginService,
  OrganisationService,
  PolicyService,
  ProviderService,
  SessionService,
  SinkService,
  WebhookService,
} as const;

type Services = typeof services;
type NameOf<S extends keyof Services> = `${S}/${Capitalize<keyof Services[S]['method'] & string>}`;
type MessageOf<Service extends DescService, Method> = Method extends keyof Service['method']
  ? MessageShape<Service['method'][Method]['input']>
  : never;
type RowOf<Name> = Name extends `${infer S}/${infer M}`
  ? S extends keyof Services
    ? Permission<MessageOf<Services[S], Uncapitalize<M>>>
    : never
  : never;

/** Name of an RPC: `ProviderService/AddProvider`. */
export type RpcName = { [S in keyof Services]: NameOf<S> }[keyof Services];

type Table = { readonly [Name in RpcName]: RowOf<Name> };

const everybody = { roles: 'everybody' } as const;
/** Everybody, and an agent with a delegation token for what it acts through. */
const delegated = { roles: 'everybody', delegated: true } as const;
const administrators = ['owner', 'admin'] as const;
const guardians = ['owner', 'admin', 'security'] as const;
const overseers = ['owner', 'admin', 'security', 'auditor'] as const;

/** The table. */
export const permissions: Table = {
  'AgentService/ListAgents': everybody,
  'AgentService/PutAgent': { roles: administrators, confirm: sentence.putAgent },
  'AgentService/DisableAgent': { roles: administrators, confirm: sentence.disableAgent },

  'ApprovalService/RequestApproval': everybody,
  'ApprovalService/WaitApproval': everybody,
  'ApprovalService/ListApprovals': everybody,
  'ApprovalService/GetApproval': everybody,

  'AuditService/AppendEvents': everybody,
  'AuditService/ListStreams': everybody,
  'AuditService/ReadStream': everybody,
  'AuditService/WatchEvents': everybody,
  'AuditService/GetCheckpoint': everybody,
  'AuditService/GetConsistencyProof': everybody,
  'AuditService/GetInclusionProof': everybody,
  'AuditService/SearchEvents': everybody,
  'AuditService/GetEventFacets': { roles: overseers },
  'AuditService/GetEventHistogram': { roles: overseers },
  'AuditService/GetLineage': everybody,
  'AuditService/BeginExport': { roles: overseers },
  'AuditService/GetExport': { roles: overseers },
  'AuditService/ListExports': { roles: overseers },
  'AuditService/ReadExport': { roles: overseers },
  'AuditService/GetAuditSettings': { roles: overseers },
  'AuditService/SetAuditSettings': { roles: guardians, confirm: sentence.setAuditSettings },
  'AuditService/ErasePayloads': { roles: guardians, confirm: sentence.erasePayloads },
  'AuditService/HoldPayloads': { roles: guardians, confirm: sentence.holdPayloads },

  'ConfirmationService/GetConfirmation': everybody,

  'ConnectionService/BeginConnection': everybody,
  'ConnectionService/GetConnection': everybody,
  'ConnectionService/ListConnections': everybody,
  'ConnectionService/RevokeConnection': everybody,
  'ConnectionService/TestConnection': everybody,
  'ConnectionService/PutSecret': { roles: 'everybody', confirm: sentence.putSecret },

  'CredentialService/ResolveCredentials': delegated,
  'CredentialService/RenewCredentials': delegated,
  'CredentialService/AttenuateCredential': delegated,
  'CredentialService/ListLeases': everybody,
  'CredentialService/RevokeLeases': { roles: 'everybody', confirm: sentence.revokeLeases },

  'IdentityProviderService/AddIdentityProvider': { roles: ['owner'], confirm: sentence.addIdentityProvider },
  'IdentityProviderService/RemoveIdentityProvider': {
    roles: ['owner'],
    confirm: sentence.removeIdentityProvider,
  },
  'IdentityProviderService/ListIdentityProviders': { roles: overseers },

  'LoginService/ListLogins': everybody,
  'LoginService/RevokeLogins': { roles: 'everybody', confirm: sentence.revokeLogins },

  'OrganisationService/GetCaller': delegated,
  'OrganisationService/ListMembers': { roles: overseers },
  'OrganisationService/SetMember': { roles: administrators, confirm: sentence.setMember },
  'OrganisationService/SuspendMember': { roles: guardians, confirm: sentence.suspendMember },
  'OrganisationService/InviteMember': { roles: administrators, confirm: sentence.inviteMember },
  'OrganisationService/ListInvitations': { roles: overseers },
  'OrganisationService/RevokeInvitation': { roles: administrators },

  'PolicyService/GetPolicySnapshot': everybody,
  'PolicyService/WatchPolicy': everybody,
  'PolicyService/ValidatePolicy': everybody,
  'PolicyService/EvaluatePolicy': everybody,
  'PolicyService/ExplainDecision': everybody,
  'PolicyService/ReplayPolicy': { roles: overseers },
  'PolicyService/PutPolicyDraft': { roles: guardians },
  'PolicyService/PublishPolicy': { roles: guardians, confirm: sentence.publishPolicy },
  'PolicyService/WithdrawPolicy': { roles: guardians, confirm: sentence.withdrawPolicy },
  'PolicyService/ListPolicyVersions': everybody,
  'PolicyService/GetPolicyVersion': everybody,

  'ProviderService/ListProviders': everybody,
  'ProviderService/ListCatalogue': everybody,
  'ProviderService/AddProvider': { roles: administrators, confirm: sentence.addProvider },
  'ProviderService/RemoveProvider': { roles: administrators, confirm: sentence.removeProvider },
  'ProviderService/AttachProvider': { roles: administrators, confirm: sentence.attachProvider },
  'ProviderService/DetachProvider': { roles: administrators, confirm: sentence.detachProvider },

  'SessionService/OpenSession': everybody,
  'SessionService/HeartbeatSession': everybody,
  'SessionService/EndSession': everybody,
  'SessionService/GetSession': everybody,
  'SessionService/ListSessions': everybody,

  'SinkService/AddSink': { roles: guardians, confirm: sentence.addSink },
  'SinkService/SetSink': { roles: guardians, confirm: sentence.setSink },
  'SinkService/RemoveSink': { roles: guardians, confirm: sentence.removeSink },
  'SinkService/ListSinks': { roles: overseers },
  'SinkService/TestSink': { roles: guardians },
  'SinkService/ReplaySink': { roles: guardians, confirm: sentence.replaySink },
  'SinkService/ListSinkDeliveries': { roles: overseers },

  'WebhookService/AddWebhook': { roles: guardians, confirm: sentence.addWebhook },
  'WebhookService/RemoveWebhook': { roles: guardians, confirm: sentence.removeWebhook },
  'WebhookService/ListWebhooks': { roles: overseers },
  'WebhookService/TestWebhook': { roles: guardians },
};

/** Name of a method as the table knows it. */
export const rpcNameOf = (method: DescMethod): string => `${method.parent.name}/${method.name}`;

/** The row of a method; null when it has none, and then nobody may call it. */
export function permissionOf(method: DescMethod): Permission<unknown> | null {
  const name = rpcNameOf(method);
  const known: Readonly<Record<string, unknown>> = permissions;
  return Object.hasOwn(known, name) ? (known[name] as Permission<unknown>) : null;
}
