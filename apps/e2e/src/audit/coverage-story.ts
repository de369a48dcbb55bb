import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { findUndocumented } from '../find-undocumented.ts';
import { repositoryRoot } from '../programs.ts';
import { type AuditStage, searchEvents } from './audit-stage.ts';

/** Kinds that need a world of another make, and the story that looks for them there. */
const elsewhere: Readonly<Record<string, string>> = {
  // Other payloads are kept before the first session.
  'audit.settings_changed': 'canary/canary.test.ts',
  // A provider that is connected, and one that ends it.
  'connection.begun': 'canary/canary.test.ts',
  'connection.connected': 'canary/canary.test.ts',
  'connection.revoked': 'moments/hard-moments.test.ts',
  'connection.failed': 'exchange/exchange.test.ts',
  // Leases and heartbeats of seconds.
  'credential.refused': 'leases/renewal.test.ts',
  'credential.renewed': 'leases/renewal.test.ts',
  'credential.revoked': 'leases/renewal.test.ts',
  'session.lost': 'leases/renewal.test.ts',
  // People whom an identity provider knows.
  'member.claimed': 'federation/federation.test.ts',
  // A policy that changes under a session.
  'policy.changed': 'policy/policy-life.test.ts',
  // The real agent, which reads settings again.
  'tamper.config_changed': 'claude/settings.test.ts',
  'tamper.input_changed': 'claude/settings.test.ts',
  'tamper.settings_changed': 'claude/settings.test.ts',
  // An intruder in the database.
  'tamper.fork': 'verify/verify.test.ts',
};

/** Kinds no story causes, and why. */
const notCaused: Readonly<Record<string, string>> = {
  'tamper.no_session_start':
    'comes of an agent that is slow to call its first hook: by the clock, so not in every run',
  'events.lost':
    'needs a full disk or a spool of 64 MiB; the chaos run fills disks, the tests of the spool do so in small',
};

/** Every kind that is published is seen by some story. Comes last. */
export function tellCoverageStory(stage: () => AuditStage): void {
  it('holds every kind of event that is published, but for those that other stories look for', async () => {
    const events = await searchEvents(stage(), []);
    const published = readPublishedKinds();
    const listed = [...Object.keys(elsewhere), ...Object.keys(notCaused)];

    const seen = new Set([...events.map(({ kind }) => kind), ...listed]);

    expect(published.filter((kind) => !seen.has(kind))).toEqual([]);
    expect(listed.filter((kind) => !published.includes(kind))).toEqual([]);
    for (const [kind, story] of Object.entries(elsewhere)) {
      const text = readFileSync(new URL(`apps/e2e/src/${story}`, repositoryRoot()), 'utf8');
      expect(text, story).toContain(`'${kind}'`);
    }
    expect(findUndocumented(events)).toEqual([]);
  });
}

function readPublishedKinds(): string[] {
  const schema = new URL('packages/audit/schema/audit-event-v1.json', repositoryRoot());
  const { definitions } = JSON.parse(readFileSync(schema, 'utf8')) as { readonly definitions: object };
  return Object.keys(definitions);
}
