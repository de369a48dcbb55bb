import { type Client, createClient, type Transport } from '@connectrpc/connect';
import {
  AuditService,
  ConnectionService,
  CredentialService,
  OrganisationService,
  PolicyService,
  ProviderService,
  SessionService,
} from '@kontext/protocol';

/** One client per service of the backend. */
export interface Clients {
  readonly audit: Client<typeof AuditService>;
  readonly connections: Client<typeof ConnectionService>;
  readonly credentials: Client<typeof CredentialService>;
  readonly organisation: Client<typeof OrganisationService>;
  readonly policies: Client<typeof PolicyService>;
  readonly providers: Client<typeof ProviderService>;
  readonly sessions: Client<typeof SessionService>;
}

/** Makes the clients over a transport: HTTP in production, a router in memory in tests. */
export const createClients = (transport: Transport): Clients => ({
  audit: createClient(AuditService, transport),
  connections: createClient(ConnectionService, transport),
  credentials: createClient(CredentialService, transport),
  organisation: createClient(OrganisationService, transport),
  policies: createClient(PolicyService, transport),
  providers: createClient(ProviderService, transport),
  sessions: createClient(SessionService, transport),
});
