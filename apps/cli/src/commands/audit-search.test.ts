import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ConnectRouter } from '@connectrpc/connect';
import { AuditService } from '@kontext/protocol';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend, wireError } from '../rpc/test-backend.ts';
import type { TestContext } from '../test-context.ts';
import { buildTestProgram, createLoggedInContext, type TestProgram } from '../test-program.ts';

let program: TestProgram;
let backend: TestBackend;
let context: TestContext;
let asked: { readonly query: string; readonly pageSize?: number; readonly payloads?: boolean }[];
/** How many events there are; -1: none is found, however long one looks. */
let stored: number;

const at = timestampFromMs(Date.UTC(2026, 0, 1, 12));
const event = (n: number) => ({
  event: {
    seq: BigInt(n),
    header: '{"mode":"observe","occurredAt":"2026-01-01T12:00:00.000Z"}',
    payload: JSON.stringify({ call: { command: `ls \u001b[31m\u202e ${n}` } }),
  },
  ...{
    streamId: 'str_1',
    eventId: `evt_${n}`,
    kind: 'tool_call.decided',
    sessionId: 'ses_1',
    userName: 'alice',
  },
  ...{ tool: 'Ba\tsh', decision: 'deny', repository: 'github.com/acme/shop', receivedAt: at },
});
const routes = (router: ConnectRouter): void => {
  router.service(AuditService, {
    searchEvents: ({ query, pageSize, pageToken, payloads }) => {
      asked.push({ query, pageSize, payloads });
      if (query === 'a OR b') {
        throw wireError('KX_QUERY_INVALID', 'the query cannot be read at character 3: there is no OR');
      }
      const from = Number(pageToken || '0');
      const events = Array.from({ length: Math.max(0, Math.min(pageSize, stored - from)) }, (_, i) =>
        event(from + i),
      );
      const nextPageToken =
        stored === -1 || from + events.length < stored ? String(from + events.length) : '';
      return { events, nextPageToken, searchedUntil: at };
    },
    getEventFacets: ({ query }) => {
      asked.push({ query });
      const values = [
        { value: 'usr_1', label: 'alice', count: 4n },
        { value: 'usr_2', label: '\u001b[2J', count: 1n },
      ];
      return { facets: [{ field: 'user', values, clipped: true }], countedUntil: at };
    },
    getEventHistogram: ({ query, bucketSeconds }) => {
      asked.push({ query, pageSize: bucketSeconds });
      return { buckets: [{ start: at, count: 3n, denied: 1n, asked: 0n }], countedUntil: at };
    },
  });
};

beforeAll(async () => {
  program = await buildTestProgram();
});
afterAll(() => program.close());
beforeEach(async () => {
  backend = await startTestBackend(routes);
  context = await createLoggedInContext(backend.url);
  [asked, stored] = [[], 3];
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const kontext = (...args: string[]): Promise<CommandResult> => program.run(context, ['audit', ...args]);

describe('audit search', () => {
  it('shows a line for each event, and no character that could steer the terminal', async () => {
    const { stdout, exitCode } = await kontext('search', 'actor:alice', '-tool:Read', 'rm -rf');
    expect(exitCode).toBe(0);
    expect(asked).toEqual([{ query: 'actor:alice -tool:Read "rm -rf"', pageSize: 50, payloads: true }]);
    const [first, ...more] = stdout.trimEnd().split('\n');
    expect(first?.split('\t')).toEqual([
      ...['2026-01-01T12:00:00.000Z', 'alice', 'tool_call.decided', 'Ba\\u0009sh', 'would deny'],
      ...['ls \\u001b[31m\\u202e 0', 'github.com/acme/shop', 'ses_1', 'evt_0'],
    ]);
    expect(more).toHaveLength(2);
  });

  it('prints JSON Lines, with payloads on request', async () => {
    const { stdout } = await kontext('search', '--json', '--payloads');
    const [line] = stdout.split('\n');
    expect(JSON.parse(line ?? '')).toMatchObject({ id: 'evt_0', repository: 'github.com/acme/shop', seq: 0 });
    expect(stdout).not.toContain('\u202e');
    await kontext('search', '--json');
    expect(asked.map(({ payloads }) => payloads)).toEqual([true, false]);
  });

  it('reads pages up to the limit, or all', async () => {
    stored = 450;
    const limited = await kontext('search', '--limit', '250');
    expect(limited.stdout.trimEnd().split('\n')).toHaveLength(250);
    expect(limited.stderr).toContain('the newest 250');
    expect(asked.map(({ pageSize }) => pageSize)).toEqual([200, 50]);
    const all = await kontext('search', '--all', '--json');
    expect(all.stdout.trimEnd().split('\n')).toHaveLength(450);
  });

  it('ends when nothing is found for long, and says how far it looked', async () => {
    stored = -1;
    const { stdout, stderr, exitCode } = await kontext('search', 'rule:x');
    expect([stdout, exitCode, asked.length]).toEqual(['', 0, 20]);
    expect(stderr).toContain('looked back to 2026-01-01T12:00:00.000Z');
  });

  it('says that there is nothing', async () => {
    stored = 0;
    expect((await kontext('search', 'rule:x')).stderr).toContain('no event matches');
  });

  it('shows what is wrong with a query, with the exit code of usage', async () => {
    const { stderr, exitCode } = await kontext('search', 'a OR b');
    expect(stderr).toContain('at character 3');
    expect(stderr).toContain('KX_QUERY_INVALID');
    expect(exitCode).toBe(64);
  });

  it.each(['0', 'x', '-1', '1e9'])('refuses the limit %s', async (limit) => {
    expect(await kontext('search', `--limit=${limit}`)).toMatchObject({ exitCode: 64, stdout: '' });
    expect(asked).toEqual([]);
  });
});

describe('audit facets', () => {
  it('lists what occurs how often, without bars where there is no terminal', async () => {
    const { stdout, stderr } = await kontext('facets', 'kind:tool_call.*', '--field', 'user');
    expect(stdout.split('\n').slice(0, 3)).toEqual(['user\talice\t4', 'user\t\\u001b[2J\t1', 'user\t…\t']);
    expect(stderr).toContain('counted until 2026-01-01T12:00:00.000Z');
    expect(asked).toEqual([{ query: 'kind:tool_call.*' }]);
  });

  it('prints JSON', async () => {
    expect(JSON.parse((await kontext('facets', '--json')).stdout)).toEqual({
      facets: [
        {
          field: 'user',
          clipped: true,
          values: [
            { value: 'usr_1', label: 'alice', count: 4 },
            { value: 'usr_2', label: '\u001b[2J', count: 1 },
          ],
        },
      ],
      countedUntil: '2026-01-01T12:00:00.000Z',
    });
  });
});

describe('audit histogram', () => {
  it('counts over time', async () => {
    const { stdout } = await kontext('histogram', 'since:7d', '--bucket', '6h');
    expect(stdout).toBe('2026-01-01T12:00:00.000Z\t3\t1\t0\n');
    expect(asked).toEqual([{ query: 'since:7d', pageSize: 21_600 }]);
    expect(JSON.parse((await kontext('histogram', '--json')).stdout)).toEqual({
      bucketSeconds: 3600,
      buckets: [{ start: '2026-01-01T12:00:00.000Z', count: 3, denied: 1, asked: 0 }],
      countedUntil: '2026-01-01T12:00:00.000Z',
    });
  });

  it.each(['90m', 'x', '0h'])('refuses spans of %s', async (bucket) => {
    expect(await kontext('histogram', '--bucket', bucket)).toMatchObject({ exitCode: 64, stdout: '' });
    expect(asked).toEqual([]);
  });
});
