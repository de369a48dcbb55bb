import { KontextError } from '@kontext/errors';
import type { AppParts, Wiring } from './app.ts';
import { createApprovalService } from './approvals/approval-service.ts';
import { type AppendSignal, createAppendSignal } from './audit/append-signal.ts';
import { createAuditService } from './audit/audit-service.ts';
import { createExportService } from './audit/exports/export-service.ts';
import { findLineage } from './audit/lineage/lineage.ts';
import { createAuditLog } from './audit/log/audit-log.ts';
import { createLogKeys } from './audit/log/log-key.ts';
import { sequenceLogs } from './audit/log/sequence-log.ts';
import { dropDuePayloads } from './audit/payloads/drop-due-payloads.ts';
import { createPayloadService } from './audit/payloads/payload-service.ts';
import { rollUpLogs } from './audit/rollups/roll-up.ts';
import { createConnectionService } from './connections/connection-service.ts';
import { createCredentialService } from './credentials/credential-service.ts';
import { createUpstreamRevocations } from './credentials/upstream-revocation.ts';
import { registerApprovals } from './http/approvals.ts';
import { registerConnectPages } from './http/connect-flow.ts';
import { registerFederation } from './http/federation.ts';
import { tokenExchangeHandler } from './http/token-exchange.ts';
import { createFederation } from './login/federation/federation.ts';
import { createRelyingParty } from './login/federation/relying-party.ts';
import { createManagedLogins } from './login/manage-logins.ts';
import { createSignAssertion } from './login/sign-assertion.ts';
import { createAgentService } from './organisations/agents.ts';
import { createMembers } from './organisations/members.ts';
import { createPolicyJudge } from './policies/judge.ts';
import { createPolicyLife } from './policies/policy-life.ts';
import { createPolicyService } from './policies/policy-service.ts';
import { createPolicyWorkers, type PolicyWorkerOptions } from './policies/policy-workers.ts';
import { createMintersByKind } from './providers/minted/minters-by-kind.ts';
import { createSafeFetch, type SafeFetch } from './providers/safe-fetch.ts';
import { agentRoutes } from './rpc/agents.ts';
import { approvalRoutes } from './rpc/approvals.ts';
import { auditRoutes } from './rpc/audit.ts';
import { exportMethods } from './rpc/audit-exports.ts';
import { lineageMethods } from './rpc/audit-lineage.ts';
import { payloadMethods } from './rpc/audit-settings.ts';
import { confirmationRoutes } from './rpc/confirmations.ts';
import { connectionRoutes } from './rpc/connections.ts';
import { credentialRoutes } from './rpc/credentials.ts';
import { identityProviderRoutes } from './rpc/identity-providers.ts';
import { loginRoutes } from './rpc/logins.ts';
import { organisationRoutes } from './rpc/organisation.ts';
import { policyRoutes } from './rpc/policies.ts';
import { providerRoutes } from './rpc/providers.ts';
import { sessionRoutes } from './rpc/sessions.ts';
import { sinkRoutes } from './rpc/sinks.ts';
import { webhookRoutes } from './rpc/webhooks.ts';
import { createSessionService } from './sessions/session-service.ts';
import { createSinkService } from './sinks/sink-service.ts';
import type { Store } from './store/store.ts';
import { createWebhookService } from './webhooks/webhook-service.ts';

const secondMs = 1_000;
const minuteMs = 60 * secondMs;

/**
 * Puts the rooms together: each gets what it needs, and its edge is mounted.
 *
 * @param refreshStore A pool of its own for refreshes on Postgres, see `ConnectionDeps`; default: the store.
 * @param workerOptions Threads that evaluate policies; default: those of the bundle.
 */
export function wire(
  parts: AppParts,
  refreshStore: Store = parts.store,
  workerOptions: PolicyWorkerOptions = {},
): Wiring {
  const { store, kms, nowMs, kit, local } = parts;
  const appended = createAppendSignal();
  const policies = createPolicyService({ store, kms, nowMs });
  const workers = createPolicyWorkers(workerOptions);
  parts.metrics.onRead(() => parts.metrics.set('kontext_policy_workers', [{ value: workers.threads() }]));
  const life = createPolicyLife({ store, appended, workers, nowMs });
  const judge = createPolicyJudge({ store, workers, nowMs });
  const audit = createAuditService({ store, nowMs, appended });
  const payloads = createPayloadService({ store, appended, nowMs });
  const logKeys = createLogKeys({ store, kms, host: new URL(parts.apiUrl).host, nowMs });
  const log = createAuditLog({ store, keys: logKeys, nowMs });
  const { exportMaxBytes: maxKeptBytes } = parts;
  const exports = createExportService({
    ...{ store, log, appended, nowMs },
    ...(maxKeptBytes === undefined ? {} : { limits: { maxKeptBytes } }),
  });
  const fetch = createSafeFetch({ allowLoopback: local, allowedHosts: parts.outboundHosts });
  const { federation, federationDeps } = createLoginRooms(parts, appended, fetch);
  const connectionDeps = { ...parts, refreshStore, fetch, appended };
  const connections = createConnectionService(connectionDeps);
  const minters = createMintersByKind({
    ...{ fetch, nowMs, local, issuer: parts.issuer, allowedHosts: parts.outboundHosts },
    signAssertion: createSignAssertion(parts.issuer, parts.keys),
  });
  const revocations = createUpstreamRevocations({ ...connectionDeps, minters });
  const onLeasesEnded = () => revocations.wake();
  const credentials = createCredentialService({
    ...{ ...connectionDeps, tokens: connections.tokens, minters, onLeasesEnded },
    approvalKey: parts.keys.derive('approval')[0],
  });
  const { lostSessionMs: lostAfterMs } = parts;
  const sessions = createSessionService({
    ...{ store, policies, appended, nowMs, onLeasesEnded },
    ...(lostAfterMs === undefined ? {} : { lostAfterMs }),
  });
  const logins = createManagedLogins({ store, appended, nowMs });
  const approvals = createApprovalService({ ...parts, appended });
  const webhooks = createWebhookService({ ...parts, fetch, appended });
  const sinks = createSinkService({ ...parts, fetch, appended });
  const members = createMembers({ store, appended, nowMs });
  return {
    services: [
      sessionRoutes(sessions),
      policyRoutes({ policies, life, judge }),
      auditRoutes(audit, log, {
        ...payloadMethods(payloads),
        ...exportMethods(exports),
        ...lineageMethods((caller, id) => findLineage(store, caller, id)),
      }),
      organisationRoutes({ policies, log, members, invitations: federationDeps, logins, nowMs }),
      loginRoutes(logins),
      identityProviderRoutes(federationDeps),
      providerRoutes(connections),
      confirmationRoutes(parts.confirmations),
      connectionRoutes(connections),
      credentialRoutes(credentials),
      agentRoutes(createAgentService({ store, appended, nowMs })),
      approvalRoutes(approvals),
      webhookRoutes(webhooks),
      sinkRoutes(sinks, nowMs),
    ],
    pages: [
      async (app) => void app.addHook('onClose', () => workers.close()),
      (app) => registerConnectPages(app, { kit, flow: connections.flow, local }),
      (app) => registerFederation(app, { kit, federation, local }),
      (app) => registerApprovals(app, { kit, approvals, limiter: parts.limiter, nowMs }),
    ],
    federation,
    tokenExchange: tokenExchangeHandler(credentials),
    tasks: [
      { name: 'lost sessions', intervalMs: 5 * secondMs, run: () => sessions.sweep() },
      { name: 'leases', intervalMs: 5 * secondMs, run: () => credentials.sweep() },
      { name: 'revocations', intervalMs: 2 * secondMs, run: () => revocations.run() },
      { name: 'approvals', intervalMs: 5 * secondMs, run: () => approvals.sweep() },
      {
        name: 'webhooks',
        intervalMs: secondMs,
        run: () => webhooks.start(),
        close: () => webhooks.close(),
      },
      { name: 'sinks', intervalMs: secondMs, run: () => sinks.start(), close: () => sinks.close() },
      {
        name: 'audit log',
        intervalMs: secondMs,
        run: () => sequenceLogs({ store, keys: logKeys, nowMs }).then(() => undefined),
      },
      { name: 'exports', intervalMs: secondMs / 2, run: () => exports.run() },
      {
        name: 'retention',
        // Each run looks at the catalog alone; often, so that what somebody was reading is asked for again soon.
        intervalMs: 10 * minuteMs,
        run: () => dropDuePayloads(parts).then(() => undefined),
      },
      {
        name: 'roll-ups',
        intervalMs: 2 * secondMs,
        run: () => rollUpLogs({ store, nowMs }).then(() => undefined),
      },
      { name: 'identity providers', intervalMs: minuteMs, run: () => federation.sweep() },
    ],
  };
}

/** Logins through identity providers of organisations. */
function createLoginRooms(parts: AppParts, appended: AppendSignal, fetch: SafeFetch) {
  const { keys, local, nowMs } = parts;
  const [signingKey] = keys.signing;
  if (signingKey === undefined) throw new KontextError('KX_INTERNAL', 'there is no signing key');
  const relyingParty = createRelyingParty({ fetch, local, signingKey, nowMs });
  const verifierKey = keys.derive('federation-pkce')[0];
  const federationDeps = { ...parts, appended, relyingParty, verifierKey };
  return { federationDeps, federation: createFederation(federationDeps, fetch) };
}
