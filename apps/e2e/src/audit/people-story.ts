import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { approveDevice, type CommandResult, startIdentityProvider } from '@kontext/testkit';
import { expect, it } from 'vitest';
import { createLedger } from '../chaos/ledger.ts';
import { createSender } from '../chaos/sender.ts';
import { pathWithAgent } from '../puppet.ts';
import { logIn, type World } from '../world.ts';
import { type AuditStage, searchEvents } from './audit-stage.ts';
import { expectOne, findPeople, readTold } from './told.ts';

const forbidSessions = `
@id("no-visitors")
@reason("visitors only look")
forbid (principal, action == Action::"session_start", resource);
`;

/** Kinds that come of a client of somebody's own make, and of what befalls members. */
export function tellPeopleStory(stage: () => AuditStage): void {
  const confirmed = (...args: string[]): Promise<string> => stage().confirmed(args);
  let people: Readonly<Record<'owner' | 'mia', string>>;
  const byOwner = () => ({ user: people.owner, session: null });

  it('tells of a secret that a client of their own sent, but not the secret', {
    timeout: 300_000,
  }, async () => {
    people = await findPeople(stage());
    const secret = `ghp_${'a1B2c3D4e5F6'.repeat(3)}`;
    const sender = await createSender(stage().member, createLedger());
    const { writer, send, streamId } = await sender.open();
    const opened = (await readTold(stage(), 'session.opened'))('session.opened')[0]?.header;
    const about = { session: opened?.session ?? null, user: people.mia };
    const call = { ...about, kind: 'tool_call.decided', agent: 'claude', tool: 'Bash', decision: 'allow' };

    const event = writer.append(call as Parameters<typeof writer.append>[0], `{"reason":"${secret}"}`);
    const answer = await send([event]);

    const told = await readTold(stage(), 'payload.withheld');
    const [kept] = await searchEvents(stage(), [`stream:${streamId}`]);
    const facts = { stream: streamId, seq: 1, rules: [expect.stringContaining('github')] };
    expect(answer).toBe('ok');
    expectOne(told('payload.withheld'), { ...about, stream: opened?.stream }, facts);
    expect([kept?.header, kept?.payload]).toEqual([event.header, null]);
    expect(await stage().ok(['audit', 'search', '--all', '--payloads', '--json'])).not.toContain(secret);
  });

  it('tells of a member who got another role, was refused a session, was suspended and let in again', {
    timeout: 300_000,
  }, async () => {
    const { member, world } = stage();
    const policy = mkdtempSync(join(world.home.root, 'visitors-'));
    writeFileSync(join(policy, 'visitors.cedar'), forbidSessions);
    await confirmed('members', 'role', 'mia', 'auditor', '--group', 'visitors');
    const { version } = JSON.parse(
      await confirmed('policy', 'push', policy, '--reason', 'a visit', '--json'),
    );
    const where = ['--mode', 'enforce', '--group', 'visitors', '--reason', 'a visit'];
    await confirmed('policy', 'publish', String(version), ...where);
    const env = { PATH: pathWithAgent(member, '#!/bin/sh\nexit 0\n') };
    const refused = await member.cli(['start', '--agent', 'claude', '--trust'], { env });
    await confirmed('members', 'suspend', 'mia');
    await confirmed('members', 'restore', 'mia');

    const told = await readTold(stage(), 'member.*', 'session.refused', 'session.ended', 'login.ended');

    const [restored, ...changed] = told('member.changed');
    const mia = { member: people.mia };
    const change = { ...mia, from: 'member', role: 'auditor', groups: ['visitors'] };
    expectOne(changed, byOwner(), change);
    expectOne(restored === undefined ? [] : [restored], byOwner(), { ...mia, restored: true });
    expect([refused.exitCode, refused.stderr]).toEqual([77, expect.stringContaining('KX_SESSION_DENIED')]);
    expect(told('session.refused')).toMatchObject([
      {
        header: {
          ...{ user: people.mia, session: null, agent: 'claude', decision: 'deny', mode: 'enforce' },
          ...{ rule: 'no-visitors', policyVersion: version },
        },
        facts: { agent: 'claude', reason: 'visitors only look', failure: null },
      },
    ]);
    // Logins of the command and of the client above, whose session was open.
    expectOne(told('member.suspended'), byOwner(), { ...mia, logins: 2, sessions: 1, leases: 0 });
    expect(told('session.ended')[0]?.facts).toMatchObject({ reason: 'login.ended:suspended' });
    const logins = told('login.ended').map(({ header, facts }) => [header.user, facts.reason]);
    expect(logins).toEqual(Array(2).fill([people.mia, 'suspended']));
  });

  it('tells of a login that was denied on its page', { timeout: 300_000 }, async () => {
    const denied = await denyLogin(stage().member);
    const told = await readTold(stage(), 'login.failed');

    expect(denied.exitCode).toBe(77);
    expect(told('login.failed')).toMatchObject([
      { header: { user: people.mia, session: null }, facts: { client: 'kontext-cli' } },
    ]);
  });
}

/** Kinds that come of what is offered and taken back. */
export function tellOffersStory(stage: () => AuditStage): void {
  const confirmed = (...args: string[]): Promise<string> => stage().confirmed(args);

  it('tells of what was offered and taken back: an invitation, an identity provider, a webhook', {
    timeout: 300_000,
  }, async () => {
    const email = 'guest@outside.test';
    await confirmed('invitations', 'create', email);
    const [[invitation] = []] = await stage().json<{ readonly id: string }[]>(['invitations', 'ls']);
    await confirmed('invitations', 'rm', invitation?.id ?? '');
    const idp = await startIdentityProvider();
    const { issuer } = idp;
    const stdin = 'the secret of kontext there';
    await stage()
      .confirmed(['idp', 'add', 'corp', '--issuer', issuer, '--client-id', 'kontext'], { stdin })
      .finally(() => idp.stop());
    await confirmed('idp', 'rm', 'corp');
    const { id: webhook, receiver } = stage().gone;
    await confirmed('webhooks', 'rm', webhook);

    const kinds = ['invitation.revoked', 'identity_provider.removed', 'webhook.disabled', 'webhook.removed'];
    const told = await readTold(stage(), ...kinds);
    const byOwner = { user: (await findPeople(stage())).owner, session: null };

    const hook = { webhook, host: new URL(receiver.url).host };
    expectOne(told('invitation.revoked'), byOwner, { invitation: invitation?.id, email });
    expectOne(told('identity_provider.removed'), byOwner, { name: 'corp', issuer });
    const reason = expect.stringContaining('410');
    expectOne(told('webhook.disabled'), { user: null, session: null }, { ...hook, reason });
    expectOne(told('webhook.removed'), byOwner, hook);
  });
}

const denyLogin = (member: World): Promise<CommandResult> =>
  logIn(member, ['--insecure-storage'], undefined, ({ uri }) => {
    const { account, passcode } = member;
    return approveDevice({ verificationUriComplete: uri, account, passcode, decision: 'deny' });
  });
