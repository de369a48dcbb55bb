import { KontextError } from '@kontext/errors';
import { describe, expect, it } from 'vitest';
import { claude } from '../agents/claude.ts';
import type { HookRequest } from '../hooks/frames.ts';
import { textReply } from '../hooks/text-reply.ts';
import { type AgentSessionsOptions, createAgentSessions } from './agent-sessions.ts';

const request = (event: string): HookRequest => ({
  ...{ kind: 'hook', key: Buffer.alloc(32), agent: 'claude', event },
  ...{ trueLength: 2, head: Buffer.from('{}'), tail: Buffer.alloc(0) },
});
const at = (id: string) => ({ id, cwd: '/', isUnderWay: false });
const silent = textReply(0, '', '');
const text = (reply: { readonly stderr: Uint8Array }): string => Buffer.from(reply.stderr).toString();

/** Sessions that write down what they hear. */
function makeSessions(more: Partial<AgentSessionsOptions> = {}) {
  const story: string[] = [];
  let now = 0;
  let opened = 0;
  const sessions = createAgentSessions({
    adapter: claude,
    endEvent: 'SessionEnd',
    mode: 'enforce',
    isHeardElsewhere: async () => false,
    async open({ id }) {
      opened += 1;
      const name = `${id}${opened}`;
      story.push(`open ${name}`);
      return {
        handlers: {
          async handleHook({ event }) {
            story.push(`${name} ${event}`);
            if (event === 'PermissionRequest') throw new Error('broken');
            return event === 'PreToolUse' ? textReply(2, '', 'no') : silent;
          },
          onFailure: () => textReply(2, '', 'failed'),
        },
        async end() {
          story.push(`end ${name}`);
        },
      };
    },
    nowMs: () => now,
    ...more,
  });
  return { sessions, story, pass: (ms: number) => (now += ms) };
}

describe('conversations of agents without kontext start', () => {
  it('are a session each, opened by the first event whichever it is', async () => {
    const { sessions, story } = makeSessions();

    await sessions.handle(at('a'), request('SessionStart'));
    const answer = await sessions.handle(at('a'), request('PreToolUse'));
    await sessions.handle(at('b'), request('PreToolUse'));

    expect(answer.exitCode).toBe(2);
    expect(story).toEqual(['open a1', 'a1 SessionStart', 'a1 PreToolUse', 'open b2', 'b2 PreToolUse']);
    expect(sessions.state).toEqual({ sessions: 2, unrecorded: 0, trouble: null });
  });

  it('answer what cannot be blocked at once, and handle it in its order', async () => {
    let open = (): void => undefined;
    const wait = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { sessions, story } = makeSessions({
      isHeardElsewhere: async () => {
        await wait;
        return false;
      },
    });

    expect(await sessions.handle(at('a'), request('SessionStart'))).toEqual(silent);
    expect(await sessions.handle(at('a'), request('UserPromptSubmit'))).toEqual(silent);
    const call = sessions.handle(at('a'), request('PreToolUse'));
    open();
    await call;

    expect(story).toEqual(['open a1', 'a1 SessionStart', 'a1 UserPromptSubmit', 'a1 PreToolUse']);
  });

  it('are left alone where a kontext start hears them', async () => {
    const { sessions, story } = makeSessions({ isHeardElsewhere: async (id) => id === 'theirs' });

    expect(await sessions.handle(at('theirs'), request('PreToolUse'))).toEqual(silent);
    await sessions.handle(at('ours'), request('PreToolUse'));

    expect(story).toEqual(['open ours1', 'ours1 PreToolUse']);
  });

  it('end with their last event, after it was recorded; the same id later is a new session', async () => {
    const { sessions, story } = makeSessions();

    await sessions.handle(at('a'), request('PreToolUse'));
    await sessions.handle(at('a'), request('SessionEnd'));
    await expect.poll(() => story).toEqual(['open a1', 'a1 PreToolUse', 'a1 SessionEnd', 'end a1']);
    await sessions.handle(at('a'), request('PreToolUse'));

    expect(story.slice(4)).toEqual(['open a2', 'a2 PreToolUse']);
  });

  it('are not opened again by what comes after their last event, until they are resumed', async () => {
    const { sessions, story, pass } = makeSessions({ stragglerMs: 1000 });
    const late = { ...at('a'), isUnderWay: true };
    await sessions.handle(at('a'), request('SessionStart'));
    await sessions.handle(late, request('SessionEnd'));
    await expect.poll(() => story.at(-1)).toBe('end a1');

    expect(await sessions.handle(late, request('SubagentStop'))).toEqual(silent);
    expect(sessions.state).toMatchObject({ sessions: 0, unrecorded: 1 });
    await sessions.handle(at('a'), request('SessionStart'));
    await expect.poll(() => story.at(-1)).toBe('a2 SessionStart');
    await sessions.handle(late, request('SessionEnd'));
    await expect.poll(() => story.at(-1)).toBe('end a2');
    pass(1001);
    sessions.expire();
    await sessions.handle(late, request('UserPromptSubmit'));

    await expect.poll(() => story.at(-1)).toBe('a3 UserPromptSubmit');
  });

  it('end when they have rested too long, and all with the daemon', async () => {
    const { sessions, story, pass } = makeSessions({ idleMs: 1000 });
    await sessions.handle(at('a'), request('PreToolUse'));
    pass(900);
    await sessions.handle(at('b'), request('PreToolUse'));
    pass(200);

    sessions.expire();
    await expect.poll(() => story.at(-1)).toBe('end a1');
    await sessions.close();

    expect(story.slice(-2)).toEqual(['end a1', 'end b2']);
    expect(sessions.state.sessions).toBe(0);
  });

  it('give the failure answer of the session when its handler fails', async () => {
    const { sessions } = makeSessions();

    expect(text(await sessions.handle(at('a'), request('PermissionRequest')))).toBe('failed');
  });

  it.each([
    ['enforce', 2],
    ['observe', 0],
  ] as const)('without a login: %s answers %i, counts, and tries again later', async (mode, exitCode) => {
    let isLoggedIn = false;
    const { sessions, pass } = makeSessions({
      mode,
      retryMs: 100,
      async open() {
        if (!isLoggedIn) throw new KontextError('KX_NOT_LOGGED_IN', 'nobody is logged in');
        return { handlers: { handleHook: async () => silent, onFailure: () => silent }, end: async () => {} };
      },
    });

    const refused = await sessions.handle(at('a'), request('PreToolUse'));
    expect(refused.exitCode).toBe(exitCode);
    expect(text(refused).includes('kontext login')).toBe(mode === 'enforce');
    expect(await sessions.handle(at('a'), request('Stop'))).toEqual(silent);
    expect(sessions.state).toMatchObject({
      unrecorded: 2,
      trouble: 'nobody is logged in (KX_NOT_LOGGED_IN)',
    });

    isLoggedIn = true;
    expect((await sessions.handle(at('a'), request('PreToolUse'))).exitCode).toBe(exitCode);
    pass(101);
    expect(await sessions.handle(at('a'), request('PreToolUse'))).toEqual(silent);
    expect(sessions.state.trouble).toBeNull();
  });

  it('deny a call that does not tell where it belongs', async () => {
    const { sessions } = makeSessions();

    expect((await sessions.handle(null, request('PreToolUse'))).exitCode).toBe(2);
    expect(await sessions.handle(null, request('Stop'))).toEqual(silent);
  });

  it('are refused beyond so many at once', async () => {
    const { sessions } = makeSessions({ maxSessions: 1 });
    await sessions.handle(at('a'), request('PreToolUse'));

    const refused = await sessions.handle(at('b'), request('PreToolUse'));

    expect(text(refused)).toContain('KX_DAEMON_FAILED');
  });
});
