import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentAdapter } from '../agents/agent.ts';
import type { Context } from '../context.ts';
import type { HookServerOptions } from '../hooks/hook-server.ts';
import { openBackend } from '../rpc/open-backend.ts';
import { runSession } from '../session/run-session.ts';

/** A session at the backend for an agent that runs without `kontext start`. */
export interface AttachedSession {
  readonly handlers: Pick<HookServerOptions, 'handleHook' | 'onFailure'>;
  /** Sends what waits and ends the session; within seconds. */
  end(): Promise<void>;
}

/** No credentials are handed out: the agent runs already, and nobody could put them into its environment. */
const noTemplate = { entries: [], problems: [] };

/**
 * Opens a session with the stored login: policy, spool, upload and heartbeats are those of `kontext start`.
 *
 * @param directory Private directory of the daemon. @param agent Where it works, and whether its run has begun before.
 * @throws KontextError as opening a session does, such as `KX_NOT_LOGGED_IN` and `KX_BACKEND_UNREACHABLE`.
 */
export async function openAttachedSession(
  context: Context,
  adapter: AgentAdapter,
  directory: string,
  agent: { readonly cwd: string; readonly isUnderWay: boolean },
): Promise<AttachedSession> {
  const backend = await openBackend(context);
  const own = mkdtempSync(join(directory, 'a'));
  let finish = (): void => undefined;
  const done = new Promise<number>((resolve) => {
    finish = () => resolve(0);
  });
  let handlers: AttachedSession['handlers'] | undefined;
  const preparation = {
    ...{ adapter, command: adapter.executable, template: noTemplate },
    plan: { args: [], userSettings: {} },
  };
  return new Promise((resolve, reject) => {
    const ended = runSession({
      // The daemon keeps its signals: other sessions are ended by them, too.
      context: { ...context, config: { ...context.config, cwd: agent.cwd }, releaseSignals: () => undefined },
      ...{ backend, preparation, allowMissing: true },
      attached: {
        isUnderWay: agent.isUnderWay,
        async listen(options) {
          handlers = options;
          // What a hook could not tell is written beside the daemon's socket, whichever conversation it is of.
          return { directory: own, socketPath: join(directory, 's'), close: async () => undefined };
        },
        untilEnd() {
          if (handlers !== undefined) resolve({ handlers, end });
          return done;
        },
      },
    })
      // Before it was opened a failure is the opener's; after, there is nobody left to tell.
      .then(() => undefined, reject)
      .finally(() => {
        backend.close();
        rmSync(own, { recursive: true, force: true });
      });
    const end = (): Promise<void> => {
      finish();
      return ended;
    };
  });
}
