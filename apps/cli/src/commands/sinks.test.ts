import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ConnectRouter } from '@connectrpc/connect';
import { DeliveryState, SinkService, SinkState } from '@kontext/protocol';
import type { CommandResult } from '@kontext/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestBackend, type TestBackend } from '../rpc/test-backend.ts';
import type { TestContext } from '../test-context.ts';
import { buildTestProgram, createLoggedInContext, type TestProgram } from '../test-program.ts';

let program: TestProgram;
let backend: TestBackend;
let context: TestContext;
let asked: Record<string, unknown>[];
let pingError: string;
let again: bigint;

const sink = {
  ...{ id: 'snk_1', name: 'siem', url: 'https://h.example/…abcd', kinds: ['tool_call.*'] },
  ...{
    state: SinkState.ACTIVE,
    lagSegments: 3n,
    lagSeconds: 40n,
    dead: 1n,
    lastError: 'it answered 500\u202e',
  },
  createdAt: timestampFromMs(Date.UTC(2026, 0, 1)),
};
const delivery = {
  ...{ id: 'skd_1', state: DeliveryState.DEAD, firstLeaf: 4n, lastLeaf: 9n, events: 12, attempts: 7 },
  ...{ status: 400, error: 'it answered 400', at: timestampFromMs(Date.UTC(2026, 0, 2)) },
};

const routes = (router: ConnectRouter): void => {
  const note = (what: string, { $typeName: _name, ...request }: { readonly $typeName: string }) =>
    void asked.push({ what, ...request });
  router.service(SinkService, {
    addSink: (request) => {
      note('add', request);
      return { sink, secret: 'whsec_c2VjcmV0' };
    },
    setSink: (request) => {
      note('set', request);
      return { sink: { ...sink, state: request.state } };
    },
    removeSink: (request) => {
      note('remove', request);
      return {};
    },
    listSinks: () => ({ sinks: [sink] }),
    testSink: () => ({ status: pingError ? 0 : 204, error: pingError }),
    replaySink: (request) => {
      note('replay', request);
      return { segments: again };
    },
    listSinkDeliveries: (request) => {
      note('deliveries', request);
      return { deliveries: [delivery] };
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
  [asked, pingError, again] = [[], '', 4n];
});
afterEach(async () => {
  context.close();
  await backend.close();
});

const kontext = (args: string, env: Record<string, string> = {}): Promise<CommandResult> =>
  program.run(context, args.split(' '), { env });

describe('sinks', () => {
  it('shows the signing secret, and nothing else, on standard output', async () => {
    const result = await kontext(
      'sinks add siem https://h.example/x --kind tool_call.* login.failed --payloads',
    );
    expect(result.stdout).toBe('whsec_c2VjcmV0\n');
    const json = await kontext('sinks add siem https://h.example/x --since 2026-01-01T00:00:00Z --json');
    expect(JSON.parse(json.stdout)).toMatchObject({ id: 'snk_1', secret: 'whsec_c2VjcmV0' });
    expect(asked).toMatchObject([
      { name: 'siem', url: 'https://h.example/x', kinds: ['tool_call.*', 'login.failed'], payloads: true },
      { kinds: [], payloads: false, since: { seconds: BigInt(Date.UTC(2026, 0, 1) / 1000) } },
    ]);
  });

  it('lists how far behind they are, harmless to look at', async () => {
    const { stdout } = await kontext('sinks ls');
    expect(stdout).toContain('3 segments, 40 s');
    expect(stdout).toContain('\\u202e');
    expect(JSON.parse((await kontext('sinks ls --json')).stdout)).toMatchObject([
      { id: 'snk_1', name: 'siem', state: 'active', lagSegments: 3, lagSeconds: 40, dead: 1 },
    ]);
  });

  it('finds them by name and by id', async () => {
    expect((await kontext('sinks pause siem')).stderr).toContain('snk_1 is paused');
    expect((await kontext('sinks resume snk_1')).stderr).toContain('snk_1 is active');
    expect((await kontext('sinks rm siem')).stderr).toContain('removed snk_1');
    expect(asked.map(({ what, sinkId, state }) => [what, sinkId, state])).toEqual([
      ['set', 'snk_1', SinkState.PAUSED],
      ['set', 'snk_1', SinkState.ACTIVE],
      ['remove', 'snk_1', undefined],
    ]);
    const unknown = await kontext('sinks rm other');
    expect([unknown.exitCode, unknown.stderr]).toEqual([1, expect.stringContaining('KX_NOT_FOUND')]);
  });

  it('says what came back of a test', async () => {
    expect((await kontext('sinks test siem')).stderr).toContain('it answered 204');
    pingError = 'it does not have a public address';
    const failed = await kontext('sinks test siem');
    expect([failed.exitCode, failed.stderr]).toEqual([1, expect.stringContaining(pingError)]);
  });

  it('sends again since an instant, or what was given up', async () => {
    expect((await kontext('sinks replay siem --since 2d')).stderr).toContain('4 segments are sent again');
    again = 0n;
    expect((await kontext('sinks replay siem --dead')).stderr).toContain('nothing to send again');
    expect(asked).toMatchObject([{ deadLetters: false, since: {} }, { deadLetters: true }]);
  });

  it('lists deliveries', async () => {
    expect((await kontext('sinks deliveries siem --state dead')).stdout).toContain('4–9');
    expect(JSON.parse((await kontext('sinks deliveries siem --json')).stdout)).toMatchObject([
      { id: 'skd_1', state: 'dead', firstLeaf: 4, lastLeaf: 9, events: 12, status: 400 },
    ]);
    expect(asked).toMatchObject([{ state: DeliveryState.DEAD, pageSize: 50 }, { state: 0 }]);
  });

  it.each([
    ['sinks replay siem', 'needs --since or --dead'],
    ['sinks replay siem --dead --since 1h', 'needs --since or --dead'],
    ['sinks replay siem --since yesterday', '--since is no duration'],
    ['sinks replay siem --since 2026-02-99', '--since is no instant'],
    ['sinks deliveries siem --limit 201', '--limit is not'],
    ['sinks deliveries siem --state gone', '--state is none of'],
  ])('refuse %s', async (args, said) => {
    const result = await kontext(args);
    expect([result.exitCode, result.stderr]).toEqual([64, expect.stringContaining(said)]);
    expect(asked).toEqual([]);
  });

  it.each([
    'sinks add siem https://h.example/x',
    'sinks rm siem',
    'sinks pause siem',
    'sinks resume siem',
    'sinks replay siem --dead',
  ])('do nothing inside a session: %s', async (args) => {
    const result = await kontext(args, { KONTEXT_SESSION_ID: 'ses_1' });
    expect([result.exitCode, result.stderr]).toEqual([77, expect.stringContaining('KX_SESSION_REFUSED')]);
    expect(asked).toEqual([]);
  });
});
