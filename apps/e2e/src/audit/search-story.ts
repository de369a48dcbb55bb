import { expect, it } from 'vitest';
import { type AuditStage, type FoundEvent, searchEvents } from './audit-stage.ts';

/** What each term of the language means for an event, told by its header and payload alone. */
type Meaning = (event: FoundEvent, header: Header) => boolean;

interface Header {
  readonly agent: string | null;
  readonly rule: string | null;
  readonly mode: string | null;
}

/** What a search finds, and for whom. */
export function tellSearchStory(stage: () => AuditStage): void {
  const search = (query: readonly string[], whose = stage().world) => searchEvents(stage(), query, whose);
  const refused = async (args: readonly string[], whose = stage().world) => {
    const { exitCode, stdout, stderr } = await whose.cli(['audit', ...args]);
    return { exitCode, stdout, code: /KX_\w+/.exec(stderr)?.[0] };
  };
  const idsOf = (events: readonly FoundEvent[]): string[] => events.map(({ id }) => id).sort();

  // As many commands as terms.
  it('finds by each term the events that are meant, and only those', { timeout: 180_000 }, async () => {
    const { memberSession } = stage();
    // The last call of the session, which ends no later than its upload.
    await expect.poll(async () => (await search(['kind:tool_call.decided', 'touch'])).length).toBe(1);
    const all = await search([]);

    for (const [query, means] of Object.entries(meaningsFor(stage(), all))) {
      const wanted = all.filter((event) => means(event, JSON.parse(event.header) as Header));
      expect(wanted.length, query).toBeGreaterThan(0);
      expect(wanted.length, query).toBeLessThan(all.length);
      expect(idsOf(await search([query])), query).toEqual(idsOf(wanted));
    }
    const withKey = await search(['provider:stripe']);
    const kinds = new Set(withKey.map(({ kind }) => kind));
    expect(kinds).toContain('credential.resolved');
    expect(kinds).not.toContain('session.opened');
    expect(withKey.filter((event) => event.session === memberSession)).toEqual([]);
  });

  it('shows the newest first, as many as are asked for, and says that there are more', async () => {
    const query = `session:${stage().session.sessionId}`;
    const all = await search([query]);
    const { stdout, stderr } = await stage().world.cli(['audit', 'search', query, '--limit', '5', '--json']);
    const newest = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as FoundEvent).id);

    expect(newest).toEqual(all.slice(0, 5).map(({ id }) => id));
    expect(stderr).toContain('the newest 5');
    expect(all.map(({ receivedAt }) => receivedAt)).toEqual(
      all
        .map(({ receivedAt }) => receivedAt)
        .sort()
        .reverse(),
    );
    expect(await stage().ok(['audit', 'search', 'decision:deny'])).toMatch(/Bash\tdeny\tmake deploy/);
  });

  it('refuses what is no query, with its place and what to write', async () => {
    for (const query of ['tool:Bash OR tool:Read', 'colour:red', 'decision:maybe', '"open']) {
      expect(await refused(['search', query])).toEqual({
        exitCode: 64,
        stdout: '',
        code: 'KX_QUERY_INVALID',
      });
    }
    const { stderr } = await stage().world.cli(['audit', 'search', 'tool:Bash OR tool:Read']);
    expect(stderr).toMatch(/11/);
    expect(await refused(['facets', 'rule:x'])).toMatchObject({ exitCode: 64, code: 'KX_QUERY_INVALID' });
  });

  it('shows a member what is theirs, and no counts, no export and no lineage of others', async () => {
    const { member, memberSession, session, approval } = stage();
    const theirs = await search([], member);

    expect(new Set(theirs.map((event) => event.session))).toEqual(new Set([memberSession]));
    expect(await search([`session:${session.sessionId}`], member)).toEqual([]);
    expect(await search(['actor:owner'], member)).toEqual([]);
    for (const args of [['facets'], ['histogram'], ['export'], ['settings']])
      expect(await refused(args, member), args[0]).toEqual({
        exitCode: 77,
        stdout: '',
        code: 'KX_FORBIDDEN',
      });
    for (const id of [session.sessionId, approval])
      expect(await refused(['lineage', id], member)).toMatchObject({ code: 'KX_NOT_FOUND', stdout: '' });
  });
}

/** Queries, and what each of them means. */
function meaningsFor({ session, memberSession }: AuditStage, all: readonly FoundEvent[]) {
  const owner = all.find((event) => event.session === session.sessionId)?.user;
  const mia = all.find((event) => event.session === memberSession)?.user;
  const client = all.find((event) => event.tool === 'Read')?.streamId ?? '';
  const noon = all.at(Math.floor(all.length / 2))?.receivedAt ?? '';
  const meanings: Readonly<Record<string, Meaning>> = {
    'actor:mia': ({ user }) => user === mia,
    'actor:OWN*': ({ user }) => user === owner,
    'agent:claude': (_, { agent }) => agent === 'claude',
    'tool:Bash': ({ tool }) => tool === 'Bash',
    'tool:mcp__github__*': ({ tool }) => tool.startsWith('mcp__github__'),
    'tool:Read tool:Bash': ({ tool }) => tool === 'Read' || tool === 'Bash',
    'kind:tool_call.decided': ({ kind }) => kind === 'tool_call.decided',
    'kind:approval.*': ({ kind }) => kind.startsWith('approval.'),
    'decision:deny': ({ decision }) => decision === 'deny',
    'tool:Bash -decision:allow': ({ tool, decision }) => tool === 'Bash' && decision !== 'allow',
    'mode:enforce': (_, { mode }) => mode === 'enforce',
    'rule:local.no-deploy': (_, { rule }) => rule === 'local.no-deploy',
    'repo:acme/shop': ({ repository }) => repository === 'github.com/acme/shop',
    [`session:${memberSession}`]: (event) => event.session === memberSession,
    [`stream:${client}`]: ({ streamId }) => streamId === client,
    [`since:${noon}`]: ({ receivedAt }) => receivedAt >= noon,
    [`until:${noon}`]: ({ receivedAt }) => receivedAt < noon,
    '"Quarterly REPORT"': ({ payload }) => /quarterly report/i.test(payload ?? ''),
    'since:1h tool:Bash deploy': ({ tool, payload }) => tool === 'Bash' && /deploy/i.test(payload ?? ''),
  };
  return meanings;
}
