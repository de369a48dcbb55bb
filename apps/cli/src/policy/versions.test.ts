import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { createRouterTransport } from '@connectrpc/connect';
import { createId } from '@kontext/audit';
import { Mode, OrganisationService, PolicyService, StaleRule } from '@kontext/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Clients, createClients } from '../rpc/clients.ts';
import { createTestContext, type TestContext } from '../test-context.ts';
import { diff } from './diff.ts';
import { explain } from './explain.ts';
import { history } from './history.ts';
import { diffLines } from './line-diff.ts';
import { publish, restore, withdraw } from './publish.ts';
import { pull } from './pull.ts';
import { push } from './push.ts';
import { replay } from './replay.ts';

interface File {
  readonly name: string;
  readonly text: string;
}

let context: TestContext;
let clients: Clients;
/** What the backend holds: files per version from 1, and every request that changes something or replays. */
let versions: File[][];
let asked: Record<string, unknown>[];
let holds: { group: string; version: bigint; mode: Mode; staleRule: StaleRule }[];

const rule = (id: string, tool = id, more = '') => `@id("${id}")
${more}forbid (principal, action == Action::"tool_call", resource)
when { context.tool == "${tool}" };
`;

beforeEach(() => {
  context = createTestContext();
  versions = [[{ name: 'a.cedar', text: rule('a') }], [{ name: 'a.cedar', text: rule('a') + rule('b') }]];
  asked = [];
  holds = [{ group: '', version: 1n, mode: Mode.OBSERVE, staleRule: StaleRule.DENY_ALL }];
  clients = createClients(
    createRouterTransport((router) => {
      router.rpc(OrganisationService.method.getCaller, () => ({}));
      router.service(PolicyService, {
        getPolicyVersion: ({ version }) => {
          const number = Number(version || (holds[0]?.version ?? 1n));
          return { version: { version: BigInt(number) }, sources: { files: versions[number - 1] ?? [] } };
        },
        listPolicyVersions: ({ pageSize }) => ({
          versions: versions
            .map((files, at) => ({
              ...{ version: BigInt(at + 1), author: 'ada', reason: `change ${at + 1}`, rules: files.length },
              createdAt: timestampFromMs(1_790_000_000_000),
              holds: holds.filter(({ version }) => version === BigInt(at + 1)),
            }))
            .reverse()
            .slice(0, pageSize),
          publications: holds,
        }),
        putPolicyDraft: ({ sources, reason }) => {
          versions.push((sources?.files ?? []).map(({ name, text }) => ({ name, text })));
          asked.push({ reason });
          return { version: { version: BigInt(versions.length), rules: 2, hash: 'h' } };
        },
        publishPolicy: ({ version, group, mode, staleRule, reason }) => {
          asked.push({ version, group, mode, staleRule, reason });
          return { publication: { seq: 9n, version, group, mode, staleRule, reason } };
        },
        withdrawPolicy: ({ group, reason }) => {
          asked.push({ group, reason });
          return { publication: { seq: 10n, version: 1n, group, reason, withdrawn: true } };
        },
        replayPolicy: async function* ({ sources, version, sinceSeconds, group }) {
          asked.push({ files: sources?.files.map(({ name }) => name), version, sinceSeconds, group });
          yield { calls: 10n };
          if (group === 'nobody') return;
          yield { calls: 20n, report };
        },
        explainDecision: ({ eventId }) => ({
          ...{ eventId, sessionId: 'ses_1', userName: 'ada', tool: 'Bash', parts: ['command git push'] },
          occurredAt: timestampFromMs(1_790_000_000_000),
          recorded: { ...denied, policyVersion: 2n },
          ...(eventId === reproducible ? { again: denied } : { notReproducible: 'it was clipped' }),
          ruleText: rule('a').trim(),
        }),
      });
    }),
  );
});
afterEach(() => context.close());

const reproducible = createId('evt');
const denied = {
  ...{ effect: 'deny', rule: 'a', reason: 'because a', part: 'command git push', mode: Mode.ENFORCE },
  ...{ policyVersion: 3n },
};
const report = {
  ...{ calls: 20n, same: 17n, newlyDenied: 2n, newlyAsked: 1n, people: 2, sessions: 3, truncated: true },
  notReproducible: [{ cause: 'recorded by an older version', calls: 4n }],
  groups: [
    {
      ...{ shape: 'Bash: git push', before: 'allow', after: 'deny', rule: 'a', calls: 2n, people: ['ada'] },
      ...{ exampleEventId: 'evt_1', exampleSessionId: 'ses_1' },
    },
  ],
};

const write = (path: string, text: string): void => {
  mkdirSync(join(context.home, path, '..'), { recursive: true });
  writeFileSync(join(context.home, path), text);
};
const read = (path: string): string => readFileSync(join(context.home, path), 'utf8');
const withCode = (code: string) => expect.objectContaining({ code });
const lines = (): string[] => context.stdout().trimEnd().split('\n');

describe('policy pull', () => {
  it('writes the files of what holds, or of a version', async () => {
    await pull(context, clients);
    expect(read('policies/a.cedar')).toBe(rule('a'));
    await pull(context, clients, 'other', { version: '2' });
    expect(read('other/a.cedar')).toBe(rule('a') + rule('b'));
    expect(context.stderr()).toContain('version 1 is in policies: 1 files');
  });

  it('replaces nothing that differs unless it must, and names what the version does not have', async () => {
    versions[0]?.push({ name: 'new.cedar', text: rule('n') });
    write('policies/a.cedar', rule('mine'));
    write('policies/extra.cedar', rule('x'));
    await expect(pull(context, clients)).rejects.toEqual(withCode('KX_POLICY_FILES_CHANGED'));
    expect([read('policies/a.cedar'), readdirSync(join(context.home, 'policies'))]).toEqual([
      rule('mine'),
      ['a.cedar', 'extra.cedar'],
    ]);
    await pull(context, clients, 'policies', { force: true });
    expect(read('policies/a.cedar')).toBe(rule('a'));
    expect(context.stderr()).toContain('not of that version: extra.cedar');
    expect(await pull(context, clients)).toBe(0);
  });

  it('replaces a link instead of writing through it', async () => {
    write('elsewhere', 'untouched');
    mkdirSync(join(context.home, 'policies'));
    symlinkSync(join(context.home, 'elsewhere'), join(context.home, 'policies', 'a.cedar'));
    const temporary = `.a.cedar.${process.pid}.tmp`;
    symlinkSync(join(context.home, 'elsewhere'), join(context.home, 'policies', temporary));
    await pull(context, clients, 'policies', { force: true });
    expect([read('elsewhere'), read('policies/a.cedar')]).toEqual(['untouched', rule('a')]);
  });

  it.each(['../evil.cedar', '/etc/evil.cedar', '.cedar', 'a.cedar\n', 'a.sh', 'A.cedar'])(
    'writes nothing when the backend calls a file %j',
    async (name) => {
      versions[0]?.push({ name, text: '' });
      await expect(pull(context, clients)).rejects.toEqual(withCode('KX_POLICY_UNREADABLE'));
      expect(readdirSync(context.home)).not.toContain('policies');
    },
  );
});

describe('policy push', () => {
  it('stores a draft with its reason and prints its number', async () => {
    write('p/a.cedar', rule('a'));
    expect(await push(context, clients, ['p'], { reason: ' tighter ' })).toBe(0);
    expect(context.stdout()).toBe('3\n');
    expect([versions[2], asked]).toEqual([[{ name: 'a.cedar', text: rule('a') }], [{ reason: 'tighter' }]]);
  });

  it('stores nothing that cannot be published, or has no reason', async () => {
    write('p/a.cedar', 'forbid (principal;');
    expect(await push(context, clients, ['p'], { reason: 'x' })).toBe(65);
    expect(context.stderr()).toMatch(/p\/a\.cedar:1:\d+: error: /);
    for (const reason of ['  ', 'x'.repeat(501)])
      await expect(push(context, clients, ['p'], { reason })).rejects.toEqual(withCode('KX_USAGE'));
    expect(versions).toHaveLength(2);
  });
});

describe('policy publish, withdraw and restore', () => {
  const how = { mode: 'enforce', stale: 'deny-all', reason: 'go' };

  it('says what is to hold for whom', async () => {
    await publish(context, clients, '2', { ...how, group: 'platform', json: true });
    expect(asked).toEqual([
      { version: 2n, group: 'platform', mode: Mode.ENFORCE, staleRule: StaleRule.DENY_ALL, reason: 'go' },
    ]);
    expect(JSON.parse(context.stdout())).toEqual({
      ...{ seq: 9, version: 2, group: 'platform', mode: 'enforce', stale: 'deny-all', author: '' },
      ...{ reason: 'go', createdAt: null, withdrawn: false },
    });
    expect(context.stderr()).toContain('publication 9: version 2 holds for group platform, mode enforce');
  });

  it.each([
    ['a version that is none', '0', how],
    ['a mode that is none', '2', { ...how, mode: 'off' }],
    ['a rule that is none', '2', { ...how, stale: 'allow' }],
    ['no reason', '2', { ...how, reason: '' }],
  ])('refuses %s', async (_what, version, options) => {
    await expect(publish(context, clients, version, options)).rejects.toEqual(withCode('KX_USAGE'));
    expect(asked).toEqual([]);
  });

  it('withdraws from a group, and from no empty one', async () => {
    await withdraw(context, clients, { group: 'platform', reason: 'over' });
    expect(asked).toEqual([{ group: 'platform', reason: 'over' }]);
    await expect(withdraw(context, clients, { group: ' ', reason: 'x' })).rejects.toEqual(
      withCode('KX_USAGE'),
    );
  });

  it('restores a version in the mode that holds, and only where something holds', async () => {
    await restore(context, clients, '2', {});
    expect(asked).toEqual([
      {
        ...{ version: 2n, group: '', mode: Mode.OBSERVE, staleRule: StaleRule.DENY_ALL },
        reason: 'restored in place of version 1',
      },
    ]);
    await expect(restore(context, clients, '2', { group: 'platform' })).rejects.toEqual(
      withCode('KX_NOT_FOUND'),
    );
  });
});

describe('policy history', () => {
  it('lists versions, newest first, and where they hold', async () => {
    await history(context, clients, false);
    expect(lines().map((line) => line.split('\t'))).toEqual([
      ['2', '2026-09-21T14:13:20.000Z', 'ada', '1', '-', 'change 2'],
      ['1', '2026-09-21T14:13:20.000Z', 'ada', '1', 'everybody (observe)', 'change 1'],
    ]);
  });

  it('tells programs the same', async () => {
    await history(context, clients, true);
    const { versions: listed, publications } = JSON.parse(context.stdout());
    expect(Object.keys(listed[0])).toEqual([
      ...['version', 'author', 'reason', 'createdAt', 'rules', 'hash', 'holds'],
    ]);
    expect(publications).toMatchObject([{ version: 1, group: null, mode: 'observe', stale: 'deny-all' }]);
  });
});

describe('policy diff', () => {
  it('compares what holds with the newest version, rule by rule', async () => {
    versions[1] = [
      { name: 'b.cedar', text: `// moved\n${rule('a', 'changed')}` },
      { name: 'c.cedar', text: rule('new') },
    ];
    expect(await diff(context, clients, [], false)).toBe(0);
    expect(lines()).toEqual([
      'changed a',
      '   @id("a")',
      '   forbid (principal, action == Action::"tool_call", resource)',
      '  -when { context.tool == "a" };',
      '  +when { context.tool == "changed" };',
      'added new',
      ...rule('new')
        .trim()
        .split('\n')
        .map((line) => `  +${line}`),
    ]);
    expect(context.stderr()).toContain('version 1 and version 2: 1 added, 0 removed, 1 changed');
  });

  it('compares versions and directories, and finds nothing in another order', async () => {
    write('p/z.cedar', rule('b'));
    write('p/y.cedar', rule('a'));
    await diff(context, clients, ['2', 'p'], true);
    await diff(context, clients, ['p', '1'], true);
    const [same, removed] = lines().map((line) => JSON.parse(line));
    expect(same).toEqual({ from: 'version 2', to: 'p', rules: [] });
    expect(removed.rules).toMatchObject([{ rule: 'b', change: 'removed' }]);
  });

  it('refuses what cannot be parsed', async () => {
    write('p/a.cedar', 'forbid (principal;');
    await expect(diff(context, clients, ['p'], false)).rejects.toEqual(withCode('KX_POLICY_INVALID'));
  });

  it('shows texts beyond its limit one after the other', () => {
    const [long, other] = [Array.from({ length: 2001 }, () => 'x'), ['x']];
    expect(diffLines(long, other)).toHaveLength(2002);
    expect(diffLines(['a', 'b'], ['b', 'c'])).toEqual(['-a', ' b', '+c']);
  });
});

describe('policy replay', () => {
  it('shows what would change, and what cannot be decided again', async () => {
    write('p/a.cedar', rule('a'));
    expect(await replay(context, clients, ['p'], { since: '7d', group: 'platform' })).toBe(0);
    expect(asked).toEqual([{ files: ['a.cedar'], version: 0n, sinceSeconds: 604_800, group: 'platform' }]);
    expect(lines()[0]?.split('\t')).toEqual(['2', 'allow', 'deny', 'a', 'Bash: git push', 'ada', 'evt_1']);
    expect(context.stderr()).toContain(
      '20 calls of group platform (2 people in 3 sessions): 2 newly denied, 1 newly asked',
    );
    expect(context.stderr()).toContain('4 calls cannot be decided exactly again: recorded by an older');
    expect(context.stderr()).toContain('choose a shorter --since');
  });

  it('tells programs the same as one document', async () => {
    await replay(context, clients, [], { since: '12h', version: '2', json: true });
    expect(asked).toMatchObject([{ version: 2n, sinceSeconds: 43_200, group: '' }]);
    expect(JSON.parse(context.stdout())).toEqual({
      ...{ calls: 20, same: 17, newlyDenied: 2, newlyAsked: 1, newlyAllowed: 0, people: 2, sessions: 3 },
      notReproducible: [{ cause: 'recorded by an older version', calls: 4 }],
      groups: [{ ...report.groups[0], calls: 2 }],
      truncated: true,
    });
  });

  it.each([
    ['neither files nor version', [], { since: '7d' }],
    ['both', ['p'], { since: '7d', version: '2' }],
    ['a span that is none', [], { since: 'week', version: '2' }],
    ['more than 90 days', [], { since: '91d', version: '2' }],
  ])('refuses %s', async (_what, paths, options) => {
    await expect(replay(context, clients, paths, options)).rejects.toEqual(withCode('KX_USAGE'));
  });

  it('does not pass for done when the stream ends without a report', async () => {
    const options = { since: '7d', version: '2', group: 'nobody' };
    await expect(replay(context, clients, [], options)).rejects.toEqual(withCode('KX_TEMPORARY'));
  });
});

describe('policy explain', () => {
  it('says who called what, which rule decided, and what would be decided now', async () => {
    await explain(context, clients, reproducible, false);
    expect(lines()).toEqual([
      ...[`event: ${reproducible}`, 'session: ses_1', 'user: ada', 'at: 2026-09-21T14:13:20.000Z'],
      ...['tool: Bash', 'part: command git push', 'decision: deny by rule a, version 2, enforce'],
      ...['  reason: because a', '  because of: command git push'],
      ...['decided again: deny by rule a, version 3, enforce'],
      ...['  reason: because a', '  because of: command git push', 'rule:'],
      ...rule('a')
        .trim()
        .split('\n')
        .map((line) => `  ${line}`),
    ]);
  });

  it('says why a call cannot be decided again, also to programs', async () => {
    const event = createId('evt');
    await explain(context, clients, event, false);
    expect(lines()).toContain('decided again: no, it was clipped');
    context = Object.assign(context, createTestContext({ home: context.home }));
    await explain(context, clients, event, true);
    expect(JSON.parse(context.stdout())).toMatchObject({
      ...{ eventId: event, again: null, notReproducible: 'it was clipped' },
      recorded: { effect: 'deny', rule: 'a', failure: null },
    });
  });

  it('refuses what is no event', async () => {
    await expect(explain(context, clients, 'ses_1', false)).rejects.toEqual(withCode('KX_USAGE'));
  });
});
