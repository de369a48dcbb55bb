/** Every kind of audit event. Add, never rename: they stand in stored headers. */
export const eventKinds = [
  'session.opened',
  'session.ended',
  'session.lost',
  'session.refused',
  'credential.resolved',
  'credential.renewed',
  'credential.revoked',
  'credential.refused',
  'tool_call.proposed',
  'tool_call.decided',
  'tool_call.completed',
  'tool_call.failed',
  'approval.requested',
  'approval.decided',
  'approval.used',
  'approval.expired',
  'policy.changed',
  'policy.drafted',
  'policy.published',
  'webhook.added',
  'webhook.removed',
  'webhook.disabled',
  'login.succeeded',
  'login.failed',
  'login.ended',
  'connection.begun',
  'connection.connected',
  'connection.revoked',
  'connection.failed',
  'secret.put',
  'provider.added',
  'provider.removed',
  'provider.attached',
  'provider.detached',
  'member.added',
  'member.invited',
  'member.claimed',
  'member.changed',
  'member.suspended',
  'invitation.revoked',
  'identity_provider.added',
  'identity_provider.removed',
  'key.created',
  'audit.exported',
  'audit.settings_changed',
  'payload.withheld',
  'payload.erased',
  'payload.held',
  'payload.released',
  'sink.added',
  'sink.changed',
  'sink.removed',
  'sink.replayed',
  'sink.disabled',
  'agent.event',
  'agent.changed',
  'tamper.fork',
  'tamper.settings_changed',
  'tamper.input_changed',
  'tamper.config_changed',
  'tamper.unproposed_result',
  'tamper.no_session_start',
  'tamper.subagent_unseen',
  'events.lost',
] as const;

/** One of {@link eventKinds}. */
export type EventKind = (typeof eventKinds)[number];

const known: ReadonlySet<string> = new Set(eventKinds);

/** Whether a text is a kind this version knows. */
export const isEventKind = (text: string): text is EventKind => known.has(text);

/**
 * The kinds a hook server may write. The others are facts only the backend knows; taken from a client they
 * would let a developer's machine put logins, leases or approvals into the record.
 */
export const clientEventKinds: ReadonlySet<EventKind> = new Set<EventKind>([
  'session.opened',
  'session.ended',
  'tool_call.proposed',
  'tool_call.decided',
  'tool_call.completed',
  'tool_call.failed',
  'approval.requested',
  'policy.changed',
  'agent.event',
  'tamper.settings_changed',
  'tamper.input_changed',
  'tamper.config_changed',
  'tamper.unproposed_result',
  'tamper.no_session_start',
  'tamper.subagent_unseen',
  'events.lost',
]);

/** The kinds of {@link clientEventKinds} that the backend writes, too. */
const sharedEventKinds: ReadonlySet<EventKind> = new Set<EventKind>([
  'session.opened',
  'session.ended',
  'approval.requested',
  'tamper.settings_changed',
]);

/** Who writes events of a kind: the hook server on a developer's machine, the backend, or both. */
export function writerOf(kind: EventKind): 'client' | 'server' | 'both' {
  if (sharedEventKinds.has(kind)) return 'both';
  return clientEventKinds.has(kind) ? 'client' : 'server';
}
