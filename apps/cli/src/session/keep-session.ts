import type { ActivePolicy } from '../hooks/active-policy.ts';
import { type SweepReport, sweepRuntime } from '../hooks/sweep-runtime.ts';
import type { Calls } from '../rpc/calls.ts';
import { type ReplayReport, replayLeftovers } from '../spool/replay.ts';
import type { SpoolFacts } from '../spool/spool.ts';
import type { Terminal } from '../terminal.ts';
import { appendEvents } from './append-events.ts';
import type { Heartbeat, OpenSession } from './open-session.ts';
import type { Renewals } from './renew-credentials.ts';
import type { SessionHooks } from './session-hooks.ts';
import { type PolicyOwner, verifyPolicy } from './verify-policy.ts';

/** The parts that live while the agent runs. */
export interface KeepSessionOptions {
  readonly session: OpenSession;
  readonly calls: Calls;
  readonly policy: ActivePolicy;
  readonly owner: PolicyOwner;
  readonly hooks: SessionHooks;
  readonly renewals: Renewals;
  /** Forgets the credentials: somebody ended the session elsewhere. */
  readonly forget: () => void;
  readonly spool: { readonly root: string; readonly key: Uint8Array; readonly facts: SpoolFacts };
  /** Directory of all sessions' sockets. */
  readonly runtimeDir: string;
  readonly terminal: Pick<Terminal, 'warn'>;
}

/** Keeps a session while its agent runs. */
export interface SessionKeeper {
  /** The agent has been started. */
  onSpawn(): void;
  /** The agent has ended: tells what could not be told while its screen was up. */
  stop(): void;
}

/** An agent whose hooks work calls the first one well within this. */
const firstEventWithinMs = 10_000;

/**
 * What goes on beside the running agent: the engine is warmed up, heartbeats tell of new policy, what earlier
 * sessions left is uploaded or swept away. All of it starts once the agent has, so that the agent waits for none of it.
 *
 * It prints nothing into the agent's screen, but for the alarm that no hook was called.
 */
export function keepSession(options: KeepSessionOptions): SessionKeeper {
  const { session, policy, hooks, renewals, terminal } = options;
  let stopWaiting = (): void => undefined;
  let updating = false;
  let leftovers: ReplayReport | null = null;
  let swept: SweepReport | null = null;
  let stopped = false;
  let endedElsewhere = false;
  const onBeat = async ({ policyVersion: newest, state }: Heartbeat): Promise<void> => {
    // A heartbeat may still be under way when everything it would look at is being taken down.
    if (stopped) return;
    hooks.checkSettings();
    if (state === 'ended') {
      endedElsewhere = true;
      renewals.stop();
      options.forget();
      return;
    }
    renewals.check();
    if (newest <= policy.version || updating) return;
    updating = true;
    await takeNewPolicy(options).catch(() => undefined);
    updating = false;
  };
  return {
    onSpawn() {
      const beatNow = session.startHeartbeats({
        hooksSeen: hooks.wasCalled,
        onBeat: (beat) => void onBeat(beat),
      });
      stopWaiting = hooks.expectFirstEvent(firstEventWithinMs, {
        // Renewals of an enforced session wait until the backend knows.
        onFirst: beatNow,
        warn: () =>
          terminal.warn(
            'the agent has called no hook yet: its tool calls may be neither decided nor recorded',
          ),
      });
      renewals.start();
      void policy
        .warmUp(() => stopped)
        .then(async () => {
          swept = await sweepRuntime(options.runtimeDir).catch(() => null);
          leftovers = await replay(options);
        });
    },
    stop() {
      stopped = true;
      stopWaiting();
      renewals.stop();
      const trouble = renewals.trouble();
      if (endedElsewhere) terminal.warn('the session was ended elsewhere; its credentials ended with it');
      else if (trouble !== null) {
        terminal.warn(`credentials were not renewed: ${trouble.message}: ${trouble.why} (${trouble.code})`);
      }
      if (swept !== null && swept.missed > 0) {
        terminal.warn(
          `${swept.missed} hook calls of an earlier session, which was killed, could not be recorded`,
        );
      }
      for (const { path, error } of leftovers?.kept ?? []) {
        if (error.spec.exitCode === 75 || error.spec.exitCode === 69) continue;
        terminal.warn(
          `events of an earlier session were not sent: ${error.message}; they are kept in ${path}`,
        );
      }
    },
  };
}

/** A snapshot that does not verify is left: the one at hand was, and the next heartbeat asks again. */
async function takeNewPolicy({ calls, owner, policy, hooks }: KeepSessionOptions): Promise<void> {
  const { snapshot } = await calls.getPolicySnapshot({});
  policy.replace(await verifyPolicy(snapshot, owner));
  const { version: policyVersion, mode } = policy;
  hooks.spool.intend({ kind: 'policy.changed', policyVersion, mode })?.('{"schema":1}');
  await policy.warmUp();
}

/** What cannot be sent now stays; `kontext status` shows it. */
function replay({ spool, calls }: KeepSessionOptions): Promise<ReplayReport | null> {
  const { apiUrl, org, user } = spool.facts;
  const append = (streamId: string, batch: Parameters<typeof appendEvents>[2]) =>
    appendEvents(calls, streamId, batch);
  const request = { root: spool.root, key: spool.key, owner: { apiUrl, org, user }, append };
  return replayLeftovers(request).catch(() => null);
}
