import { createRouterTransport } from '@connectrpc/connect';
import { SessionService, SessionState } from '@kontext/protocol';
import { describe, expect, it } from 'vitest';
import { createTestCalls } from '../rpc/test-calls.ts';
import { openSession } from './open-session.ts';
import { createTestServices } from './test-services.ts';

const request = { agent: 'run', mode: null } as const;

describe('a session', () => {
  it('is opened with what hooks and audit need, and ended once', async () => {
    const services = createTestServices();
    const session = await openSession(createTestCalls(createRouterTransport(services.routes)), request);
    expect(session).toMatchObject({ id: 'ses_1', orgName: 'Example', mode: 'observe', policyVersion: 3 });
    expect(session.clientStreamNonce).toHaveLength(32);

    expect(await session.end(7)).toEqual({ leasesRevoked: 0, living: [] });
    await session.end(8);
    expect(services.sessions.get('ses_1')).toBe(7);
  });

  it('asks for enforce when that was wanted', async () => {
    const services = createTestServices();
    const calls = createTestCalls(createRouterTransport(services.routes));
    expect((await openSession(calls, { agent: 'run', mode: 'enforce' })).mode).toBe('enforce');
  });

  it('beats until it is ended, and tells the newest policy version', async () => {
    const services = createTestServices();
    const session = await openSession(createTestCalls(createRouterTransport(services.routes)), request);
    const beat = await new Promise((resolve) => session.startHeartbeats({ onBeat: resolve }));
    expect(beat).toEqual({
      state: 'live',
      policyVersion: 4,
      policySeq: 0,
      tampered: false,
      payloads: 'summary',
    });
    await session.end(0);
  });

  it('counts as enforce when its mode is not known', async () => {
    const transport = createRouterTransport(({ rpc }) => {
      rpc(SessionService.method.openSession, () => ({
        session: { id: 'ses_1', mode: 99 as never, state: SessionState.LIVE },
      }));
    });
    expect((await openSession(createTestCalls(transport), request)).mode).toBe('enforce');
  });

  it('keeps of payloads what the backend says, and a summary of what it does not understand', async () => {
    const { PayloadSetting } = await import('@kontext/protocol');
    let said = PayloadSetting.FULL;
    const transport = createRouterTransport(({ rpc }) => {
      rpc(SessionService.method.openSession, () => ({ session: { id: 'ses_1' }, payloads: said }));
      rpc(SessionService.method.heartbeatSession, () => ({ payloads: said }));
    });
    const session = await openSession(createTestCalls(transport), request);
    const beat = () => new Promise((resolve) => session.startHeartbeats({ onBeat: resolve })());
    const settings = [session.payloads()];
    for (said of [PayloadSetting.OMITTED, PayloadSetting.SUMMARY, PayloadSetting.FULL, 99 as never]) {
      await beat();
      settings.push(session.payloads());
    }

    expect(settings).toEqual(['full', 'omitted', 'summary', 'full', 'summary']);
    await session.end(0);
  });

  it('that cannot be ended at the backend is no error: the child is gone already', async () => {
    const transport = createRouterTransport(({ rpc }) => {
      rpc(SessionService.method.openSession, () => ({ session: { id: 'ses_1' } }));
    });
    const session = await openSession(createTestCalls(transport), request);
    expect(await session.end(0)).toBeNull();
  });
});
