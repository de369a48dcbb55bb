import { describe, expect, it } from 'vitest';
import type { PolicyText } from './index.ts';
import { testCall } from './test-call.ts';
import { openTestEngine } from './test-rules.ts';

const { engine, load } = await openTestEngine();

describe('decideCredential and decideSessionStart', () => {
  const who = { user: 'usr_1', groups: ['payments'], role: 'member', atMs: Date.UTC(2026, 0, 7, 23) };
  const use = {
    ...who,
    provider: 'github',
    providerKind: 'oauth',
    agent: 'claude',
    session: 'ses_1',
    target: 'acme',
    scopes: ['repo'],
  };
  const start = {
    ...who,
    agent: 'claude',
    agentVersion: '2.1.0',
    hostname: 'laptop',
    mode: 'observe' as const,
  };
  const about = (action: string, condition: string, annotations = ''): PolicyText => ({
    id: 'r',
    text: `${annotations}forbid (principal, action == Action::"${action}", resource) when { ${condition} };`,
  });

  it.each([
    'resource == Provider::"github" && resource.kind == "oauth"',
    'context.target == "acme" && context.scopes.contains("repo") && context.agent == "claude" && context.session == "ses_1"',
    'context.hour == 23 && context.weekday == 3 && context.at < datetime("2026-01-08")',
    'principal in Group::"payments" && principal in Role::"member" && principal.role == "member"',
  ])('let a rule speak about the use of a credential: %s', (condition) => {
    const loaded = load(about('credential_use', condition));

    expect(engine.decideCredential(loaded, use, 'enforce')).toMatchObject({
      effect: 'deny',
      rule: 'r',
      part: 'credential github',
    });
    expect(engine.decideSessionStart(loaded, start, 'enforce').effect).toBe('allow');
    expect(engine.decide(loaded, testCall(), 'enforce').effect).toBe('allow');
  });

  it.each([
    'resource == Agent::"claude"',
    'context.agentVersion == "2.1.0" && context.hostname == "laptop" && context.mode == "observe"',
    'context.hour == 23 && principal == User::"usr_1"',
  ])('let a rule speak about the start of a session: %s', (condition) => {
    const loaded = load(about('session_start', condition));

    expect(engine.decideSessionStart(loaded, start, 'observe')).toMatchObject({
      effect: 'deny',
      part: 'session of claude',
      mode: 'observe',
    });
    expect(engine.decideCredential(loaded, use, 'enforce').effect).toBe('allow');
  });

  const asking = '@effect("ask") @reason("ask first") @approver("security")\n';

  it('ask about a credential', () => {
    const decision = engine.decideCredential(load(about('credential_use', 'true', asking)), use, 'enforce');

    expect(decision).toMatchObject({ effect: 'ask', rule: 'r', reason: 'ask first', approver: 'security' });
  });

  it('deny a session where a rule would ask, for nobody can be asked', () => {
    const decision = engine.decideSessionStart(
      load(about('session_start', 'true', asking)),
      start,
      'enforce',
    );

    expect(decision).toMatchObject({
      effect: 'deny',
      rule: 'r',
      reason: 'ask first',
      approver: null,
      fourEyes: false,
    });
  });

  it('are total: whatever goes wrong denies', () => {
    const loaded = load(about('credential_use', 'context.target == "x"'));
    const odd = { ...use, provider: '\ud800', target: '\0', scopes: ['\udfff'], groups: ['\ud800'] };

    expect(engine.decideCredential(loaded, odd, 'enforce')).toMatchObject({ effect: 'allow', failure: null });
    for (const broken of [null, {}, { ...use, atMs: Number.NaN }, { ...use, scopes: null }]) {
      expect(engine.decideCredential(loaded, broken as unknown as typeof use, 'enforce')).toMatchObject({
        effect: 'deny',
        rule: null,
      });
      expect(
        engine.decideSessionStart(loaded, { ...start, ...broken, atMs: Number.NaN }, 'enforce').effect,
      ).toBe('deny');
    }
  });
});
