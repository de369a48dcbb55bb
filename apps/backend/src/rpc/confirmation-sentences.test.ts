import { create } from '@bufbuild/protobuf';
import { TimestampSchema, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  AddIdentityProviderRequestSchema,
  AddProviderRequestSchema,
  AddSinkRequestSchema,
  AttachProviderRequestSchema,
  ClientAuth,
  DetachProviderRequestSchema,
  DisableAgentRequestSchema,
  ErasePayloadsRequestSchema,
  HoldPayloadsRequestSchema,
  InviteMemberRequestSchema,
  PayloadSetting,
  ProviderKind,
  PutAgentRequestSchema,
  PutSecretRequestSchema,
  RemoveIdentityProviderRequestSchema,
  RemoveProviderRequestSchema,
  RemoveSinkRequestSchema,
  ReplaySinkRequestSchema,
  RevokeLeasesRequestSchema,
  RevokeLoginsRequestSchema,
  SetAuditSettingsRequestSchema,
  SetMemberRequestSchema,
  SetSinkRequestSchema,
  SinkState,
  SuspendMemberRequestSchema,
} from '@kontext/protocol';
import { describe, expect, it } from 'vitest';
import * as sentence from './confirmation-sentences.ts';

const me = { userId: 'usr_me' };

describe('the sentence a person confirms', () => {
  it.each([
    [
      sentence.addProvider(
        create(AddProviderRequestSchema, {
          provider: {
            ...{ name: 'acme', kind: ProviderKind.OAUTH2, clientId: 'id', scopes: ['a', 'b'] },
            ...{ tokenEndpoint: 'https://acme.example/token', agents: [{ agent: 'claude' }] },
          },
          clientSecret: 'planted',
        }),
      ),
      'add the provider "acme" (kind oauth2, token endpoint "https://acme.example/token", client id "id", scopes "a b", with a client secret, for the agents "claude" with any scope, without asking in each session, for logins of any age, leases as long as the agent may have them)',
    ],
    [
      sentence.addProvider(
        create(AddProviderRequestSchema, {
          provider: {
            ...{ name: 'acme', kind: ProviderKind.STATIC, clientAuth: ClientAuth.NONE },
            agents: [{ agent: 'claude', scopes: ['a', 'b'] }, { agent: 'run' }],
            ...{ needsApproval: true, maxLoginAgeSeconds: 3600, leaseTtlSeconds: 600 },
          },
        }),
      ),
      'add the provider "acme" (kind static, client authentication none, for the agents "claude" up to "a" "b", "run" with any scope, asking a person in each session, for logins of at most 3600 s, leases of at most 600 s)',
    ],
    [
      sentence.removeProvider(create(RemoveProviderRequestSchema, { name: 'acme', force: true })),
      'remove the provider "acme" with all its connections',
    ],
    [
      sentence.attachProvider(create(AttachProviderRequestSchema, { provider: 'acme', agent: 'claude' })),
      'let the agent "claude" have credentials of "acme", with any scope',
    ],
    [
      sentence.detachProvider(create(DetachProviderRequestSchema, { provider: 'acme', agent: 'claude' })),
      'take credentials of "acme" away from the agent "claude"',
    ],
    [
      sentence.putSecret(
        create(PutSecretRequestSchema, { provider: 'acme', value: 'planted', shared: true }),
      ),
      'store a secret for "acme/default", shared with the whole organisation',
    ],
    [
      sentence.putAgent(
        create(PutAgentRequestSchema, { name: 'ci', ceilingScopes: ['read'], maxTtlSeconds: 60 }),
      ),
      'set the agent "ci" to at most "read", leases of at most 60 s',
    ],
    [
      sentence.disableAgent(create(DisableAgentRequestSchema, { name: 'ci' })),
      'disable the agent "ci" and end all it does',
    ],
    [
      sentence.setMember(create(SetMemberRequestSchema, { userId: 'usr_1', role: 'admin', groups: ['ops'] })),
      'make the member "usr_1" "admin", with the groups "ops"',
    ],
    [
      sentence.suspendMember(create(SuspendMemberRequestSchema, { userId: 'usr_1', restore: true })),
      'let the member "usr_1" in again',
    ],
    [
      sentence.inviteMember(create(InviteMemberRequestSchema, { email: 'a@example.com', role: 'owner' })),
      'invite "a@example.com" as "owner"',
    ],
    [
      sentence.addIdentityProvider(
        create(AddIdentityProviderRequestSchema, {
          identityProvider: {
            ...{ name: 'corp', issuer: 'https://id.example', clientId: 'k', admitsNewMembers: true },
            ...{ emailDomains: ['example.com'], groupRoles: { ops: 'owner' } },
          },
          clientSecret: 'planted',
        }),
      ),
      'let "https://id.example" ("corp", client id "k") vouch for people for "example.com", admitting new members without an invitation, with the groups "ops" as "owner"',
    ],
    [
      sentence.addIdentityProvider(
        create(AddIdentityProviderRequestSchema, {
          identityProvider: {
            ...{ name: 'corp', issuer: 'https://id.example', clientId: 'k', clientAuth: 'none' },
            ...{ groupsClaim: 'nickname', scopes: ['openid', 'profile'], revalidateSeconds: 60 },
          },
        }),
      ),
      'let "https://id.example" ("corp", client id "k") vouch for people, admitting whom somebody invited, read from the claim "nickname", scopes "openid" "profile", client authentication "none", asked again after 60 s',
    ],
    [
      sentence.removeIdentityProvider(create(RemoveIdentityProviderRequestSchema, { name: 'corp' })),
      'remove the identity provider "corp" and end the logins it vouched for',
    ],
  ])('%s', (said, expected) => {
    expect(said).toBe(expected);
    expect(said).not.toContain('planted');
  });

  it.each([
    [{ payloads: PayloadSetting.FULL }, 'record the payloads of new events redacted, in full'],
    [
      { payloads: PayloadSetting.SUMMARY, retentionClass: 'days-30' },
      'record the payloads of new events as summaries, and in the retention class "days-30"',
    ],
    [
      { retentionClass: 'd\u0430ys-30' },
      String.raw`record the payloads of new events as now, and in the retention class "d\u0430ys-30"`,
    ],
    [{ payloads: PayloadSetting.OMITTED }, 'record the payloads of new events not at all'],
    [
      { payloads: 9 as PayloadSetting },
      'record the payloads of new events in a way this version does not know',
    ],
  ])('of what is kept of payloads %j is %s', (init, expected) => {
    expect(sentence.setAuditSettings(create(SetAuditSettingsRequestSchema, init))).toBe(expected);
  });

  it.each([
    [{ eventId: 'evt_1' }, 'the event "evt_1"'],
    [{ sessionId: 'ses_1' }, 'the session "ses_1"'],
    [{ userId: 'usr_1' }, 'the member "usr_1"'],
    // Refused later; the sentence hides none of them.
    [{ eventId: 'evt_1', userId: 'usr_1' }, 'the event "evt_1" and the member "usr_1"'],
  ])('of an erasure %j names what and why', (init, what) => {
    const message = create(ErasePayloadsRequestSchema, { ...init, reason: 'x", and so on' });
    expect(sentence.erasePayloads(message)).toBe(
      `erase for good what was recorded beside the headers of ${what}, because "x\\", and so on"`,
    );
  });

  it.each([
    [true, 'keep the payloads of the session "ses_1" from erasure, because "a case"'],
    [false, 'let the payloads of the session "ses_1" be erased again, because "a case"'],
  ])('of a hold (%s) is %s', (hold, expected) => {
    const message = create(HoldPayloadsRequestSchema, { sessionId: 'ses_1', hold, reason: 'a case' });
    expect(sentence.holdPayloads(message)).toBe(expected);
  });

  it('of a new sink says what leaves for where', () => {
    const url = 'https://l.example/x';
    const plain = create(AddSinkRequestSchema, { name: 'siem', url });
    expect(sentence.addSink(plain)).toBe(
      'send every audit event to "https://l.example/x" as the sink "siem"',
    );
    const since = timestampFromMs(Date.UTC(2026, 0, 1));
    const some = { name: 'a"', url, kinds: ['tool_call.*', 'x"'], payloads: true, since };
    expect(sentence.addSink(create(AddSinkRequestSchema, some))).toBe(
      String.raw`send the audit events "tool_call.*" "x\"" with payloads to "https://l.example/x" as the sink "a\"", those since 2026-01-01T00:00:00.000Z too`,
    );
    const lookalike = create(AddSinkRequestSchema, { name: 'siem', url: 'https://\u0430.example/' });
    expect(sentence.addSink(lookalike)).toContain(String.raw`https://\u0430.example/`);
  });

  it.each([
    [SinkState.PAUSED, 'send nothing more for now to the sink "snk_1"'],
    [SinkState.ACTIVE, 'go on sending to the sink "snk_1"'],
  ])('of a sink in the state %i, and of its end', (state, expected) => {
    expect(sentence.setSink(create(SetSinkRequestSchema, { sinkId: 'snk_1', state }))).toBe(expected);
    expect(sentence.removeSink(create(RemoveSinkRequestSchema, { sinkId: 'snk_1' }))).toBe(
      'send no more audit events to the sink "snk_1"',
    );
  });

  it('of a replay says since when; what was given up needs none', () => {
    const since = timestampFromMs(Date.UTC(2026, 0, 1));
    expect(sentence.replaySink(create(ReplaySinkRequestSchema, { sinkId: 'snk_1', since }))).toBe(
      'send the audit events since 2026-01-01T00:00:00.000Z, also those from before it was added, to the sink "snk_1"',
    );
    const dead = { sinkId: 'snk_1', since, deadLetters: true };
    expect(sentence.replaySink(create(ReplaySinkRequestSchema, dead))).toBeNull();
    const far = create(TimestampSchema, { seconds: 10n ** 15n });
    expect(sentence.replaySink(create(ReplaySinkRequestSchema, { sinkId: 'snk_1', since: far }))).toContain(
      'since second 1000000000000000,',
    );
  });

  it('lets no name pose as part of the sentence', () => {
    const name = 'x", for you alone. "';
    const message = create(PutSecretRequestSchema, { provider: 'acme', name, shared: true });
    expect(sentence.putSecret(message)).toBe(
      'store a secret for "acme/x\\", for you alone. \\"", shared with the whole organisation',
    );
  });

  it('shows settings as they will be read: the last of two members, letters instead of their escapes', () => {
    const settingsJson = String.raw`{"base":"https://git.example","base":"https://\u0065vil.example"}`;
    const message = create(AddProviderRequestSchema, { provider: { name: 'git', settingsJson } });
    expect(sentence.addProvider(message)).toContain('settings {"base":"https://evil.example"}');
    expect(sentence.addProvider(message)).not.toContain('git.example');
    const broken = create(AddProviderRequestSchema, { provider: { settingsJson: '{"base"' } });
    expect(sentence.addProvider(broken)).toContain(String.raw`settings "{\"base\""`);
  });

  it('lets no letter of another alphabet pass in an address', () => {
    const lookalike = 'https://g\u0456thub.com/token';
    const escaped = String.raw`"https://g\u0456thub.com/token"`;
    const provider = {
      name: 'git',
      tokenEndpoint: lookalike,
      settingsJson: JSON.stringify({ base: lookalike }),
    };
    const said = sentence.addProvider(create(AddProviderRequestSchema, { provider }));
    expect(said).toContain(`token endpoint ${escaped}`);
    expect(said).toContain(`settings {"base":${escaped}}`);
    const identityProvider = { issuer: lookalike, emailDomains: ['\u0430cme.com'] };
    expect(
      sentence.addIdentityProvider(create(AddIdentityProviderRequestSchema, { identityProvider })),
    ).toMatch(/^[ -~]+$/);
    const email = '\u0430nn@acme.example';
    expect(sentence.inviteMember(create(InviteMemberRequestSchema, { email }))).toBe(
      String.raw`invite "\u0430nn@acme.example" as "member"`,
    );
  });

  it.each([
    [{ loginId: 'l' }, null],
    [{ loginId: 'l', userId: 'usr_me' }, null],
    [{ loginId: 'l', userId: 'usr_1' }, 'end the login "l" of the member "usr_1"'],
    [{}, 'end every login of yours'],
    [{ userId: 'usr_1' }, 'end every login of the member "usr_1"'],
  ])('of ending the logins %j is %s', (init, expected) => {
    expect(sentence.revokeLogins(create(RevokeLoginsRequestSchema, init), me)).toBe(expected);
  });

  it.each([
    [{ case: 'leaseId', value: 'lea_1' }, null],
    [{ case: 'sessionId', value: 'ses_1' }, null],
    [{ case: 'connectionId', value: 'con_1' }, 'end every lease of the connection "con_1"'],
    [{ case: 'userId', value: 'usr_1' }, 'end every lease of the member "usr_1"'],
    [{ case: 'agent', value: 'claude' }, 'end every lease of the agent "claude"'],
    [{ case: 'provider', value: 'acme' }, 'end every lease of the provider "acme"'],
    [{ case: 'everything', value: true }, 'end every lease of the organisation'],
  ] as const)('of ending the leases %j is %s', (filter, expected) => {
    expect(sentence.revokeLeases(create(RevokeLeasesRequestSchema, { filter }))).toBe(expected);
    expect(sentence.revokeLeases(create(RevokeLeasesRequestSchema, { filter, dryRun: true }))).toBeNull();
  });
});
