import type { AppParts, Wiring } from './app.ts';
import { createAppendSignal } from './audit/append-signal.ts';
import { createAuditService } from './audit/audit-service.ts';
import { createConnectionService } from './connections/connection-service.ts';
import { createCredentialService } from './credentials/credential-service.ts';
import { registerConnectPages } from './http/connect-flow.ts';
import { tokenExchangeHandler } from './http/token-exchange.ts';
import { createPolicyService } from './policies/policy-service.ts';
import { createSafeFetch } from './providers/safe-fetch.ts';
import { auditRoutes } from './rpc/audit.ts';
import { connectionRoutes } from './rpc/connections.ts';
import { credentialRoutes } from './rpc/credentials.ts';
import { organisationRoutes } from './rpc/organisation.ts';
import { policyRoutes } from './rpc/policies.ts';
import { providerRoutes } from './rpc/providers.ts';
import { sessionRoutes } from './rpc/sessions.ts';
import { createSessionService } from './sessions/session-service.ts';
import type { Store } from './store/store.ts';

const minuteMs = 60_000;

/**
 * Puts the rooms together: each gets what it needs, and its edge is mounted.
 *
 * @param refreshStore A pool of its own for refreshes on Postgres, see `ConnectionDeps`; default: the store.
 */
export function wire(parts: AppParts, refreshStore: Store = parts.store): Wiring {
  const { store, kms, nowMs, kit, local } = parts;
  const appended = createAppendSignal();
  const policies = createPolicyService({ store, kms, nowMs });
  const sessions = createSessionService({ store, policies, appended, nowMs });
  const audit = createAuditService({ store, nowMs, appended });
  const fetch = createSafeFetch({ allowLoopback: local });
  const connectionDeps = { ...parts, refreshStore, fetch, appended };
  const connections = createConnectionService(connectionDeps);
  const credentials = createCredentialService({ ...connectionDeps, tokens: connections.tokens });
  return {
    services: [
      sessionRoutes(sessions),
      policyRoutes(policies),
      auditRoutes(audit),
      organisationRoutes(policies, nowMs),
      providerRoutes(connections),
      connectionRoutes(connections),
      credentialRoutes(credentials),
    ],
    pages: [(app) => registerConnectPages(app, { kit, flow: connections.flow, local })],
    tokenExchange: tokenExchangeHandler(credentials),
    tasks: [
      { name: 'lost sessions', intervalMs: minuteMs, run: () => sessions.sweep() },
      { name: 'leases', intervalMs: minuteMs, run: () => credentials.sweep() },
    ],
  };
}
