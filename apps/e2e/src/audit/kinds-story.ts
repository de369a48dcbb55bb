import { expect, it } from 'vitest';
import { bashCall, type Puppet, startPuppet } from '../puppet.ts';
import type { AuditStage } from './audit-stage.ts';
import { expectOne, findPeople, readTold } from './told.ts';

/** Kinds that come of an agent that misbehaves, and of taking away what it has. The session of the stage is over. */
export function tellKindsStory(stage: () => AuditStage): void {
  const confirmed = (...args: string[]): Promise<string> => stage().confirmed(args);
  let session: Puppet;
  let owner: string;

  it('tells of calls that nobody proposed or that were denied, and of a sub-agent nobody saw begin', {
    timeout: 300_000,
  }, async () => {
    ({ owner } = await findPeople(stage()));
    session = await startPuppet(stage().world, ['--mode', 'enforce']);
    const result = { tool_response: { stdout: '' }, duration_ms: 1 };
    await session.hook('PostToolUse', { ...bashCall('ls', 'never'), ...result });
    await session.hook('PreToolUse', bashCall('make deploy', 'refused'));
    await session.hook('PostToolUse', { ...bashCall('make deploy', 'refused'), ...result });
    await session.hook('SubagentStop', { agent_id: 'sub-1', agent_type: 'Explore' });

    const told = await readTold(stage(), 'tamper.*', 'session.opened', 'tamper.subagent_unseen');

    const [stream] = told('session.opened').map(({ facts }) => facts.clientStream);
    const ours = { stream, session: session.sessionId, user: owner, agent: 'claude' };
    expect(told('tamper.unproposed_result')).toMatchObject(
      [
        { toolUse: 'toolu_refused', denied: true, command: 'make deploy' },
        { toolUse: 'toolu_never', denied: false, command: 'ls' },
      ].map(({ toolUse, denied, command }) => ({
        header: { ...ours, tool: 'Bash', toolUse },
        facts: { event: 'PostToolUse', facts: { denied }, input: { command } },
      })),
    );
    expectOne(told('tamper.subagent_unseen'), ours, {
      ...{ schema: 1, event: 'SubagentStop', facts: { agentId: 'sub-1', agentType: 'Explore' } },
    });
  });

  it('tells of a provider that was taken away, given back and removed, and how much ended with it', {
    timeout: 300_000,
  }, async () => {
    await confirmed('providers', 'detach', 'stripe', 'claude');
    await confirmed('providers', 'attach', 'stripe', 'claude');
    await confirmed('providers', 'rm', 'stripe', '--force');

    const told = await readTold(stage(), 'provider.*', 'credential.resolved');

    const [stripe] = told('provider.added').map(({ facts: { provider, providerId } }) => ({
      ...{ provider, providerId },
    }));
    const by = { user: owner, session: null };
    expectOne(told('provider.detached'), by, { ...stripe, agent: 'claude', leasesEnded: 1 });
    expectOne(told('provider.attached'), by, { ...stripe, agent: 'claude', scopes: null });
    expectOne(told('provider.removed'), by, { ...stripe, connections: 1, leasesEnded: 0 });
    const [resolved] = told('credential.resolved');
    const [leases] = await stage().json(['leases', 'ls', '--session', session.sessionId]);
    expect(leases).toMatchObject([
      { id: resolved?.header.lineage?.leases?.[0], state: 'ended', endReason: 'provider_detached' },
    ]);
  });

  it('tells of an agent that was disabled with its session, of the question open there, and of its return', {
    timeout: 300_000,
  }, async () => {
    const asking = session.hook('PreToolUse', bashCall('touch late.txt', 'late'));
    await expect.poll(async () => (await stage().json<unknown[]>(['requests', 'ls']))[0]).toHaveLength(1);
    await confirmed('agents', 'disable', 'claude');
    await confirmed('agents', 'enable', 'claude');

    const told = await readTold(stage(), 'approval.expired', 'agent.changed', 'session.ended');

    await asking;
    await session.end();
    const [enabled, ...disabled] = told('agent.changed');
    const by = { user: owner, agent: 'claude', session: null };
    expectOne(disabled, by, { change: 'disabled', sessions: 1, leases: 0 });
    expectOne(enabled === undefined ? [] : [enabled], by, { change: 'enabled' });
    const [ended] = told('session.ended');
    expect(ended?.header.session).toBe(session.sessionId);
    expect(ended?.facts).toMatchObject({ reason: 'agent_disabled', leasesEnded: 0 });
    const [expired] = told('approval.expired');
    expect(expired?.header.session).toBe(session.sessionId);
    expect(expired?.header.lineage?.approval).toBe(expired?.facts.approval);
    expect(expired?.facts).toMatchObject({ was: 'pending', why: 'the session ended' });
  });
}
