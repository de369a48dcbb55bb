import type { AppParts, Wiring } from './app.ts';
import { createAppendSignal } from './audit/append-signal.ts';
import { createAuditService } from './audit/audit-service.ts';
import { createPolicyService } from './policies/policy-service.ts';
import { auditRoutes } from './rpc/audit.ts';
import { organisationRoutes } from './rpc/organisation.ts';
import { policyRoutes } from './rpc/policies.ts';
import { sessionRoutes } from './rpc/sessions.ts';
import { createSessionService } from './sessions/session-service.ts';

const minuteMs = 60_000;

/** Puts the rooms together: each gets what it needs, and its edge is mounted. */
export function wire({ store, kms, nowMs }: AppParts): Wiring {
  const appended = createAppendSignal();
  const policies = createPolicyService({ store, kms, nowMs });
  const sessions = createSessionService({ store, policies, appended, nowMs });
  const audit = createAuditService({ store, nowMs, appended });
  return {
    services: [
      sessionRoutes(sessions),
      policyRoutes(policies),
      auditRoutes(audit),
      organisationRoutes(policies, nowMs),
    ],
    tasks: [{ name: 'lost sessions', intervalMs: minuteMs, run: () => sessions.sweep() }],
  };
}
