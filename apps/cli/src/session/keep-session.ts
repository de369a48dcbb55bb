import type { Mode } from '@kontext/policy';
import type { ActivePolicy } from '../hooks/active-policy.ts';
import { type SweepReport, sweepRuntime } from '../hooks/sweep-runtime.ts';
import type { Calls } from '../rpc/calls.ts';
import { type ReplayReport, replayLeftovers } from '../spool/replay.ts';
import type { SpoolFacts } from '../spool/spool.ts';
import type { AppendBatch } from '../spool/uploader.ts';
import type { Terminal } from '../terminal.ts';
import type { Witness } from '../witness/witness.ts';
import { appendWitnessed } from './append-events.ts';
import { createPolicyKeeper } from './keep-policy.ts';
import type { Heartbeat, OpenSession } from './open-session.ts';
import type { Renewals } from './renew-credentials.ts';
import type { SessionHooks } from './session-hooks.ts';
import { firstEventWithinMs, noHookYet } from './session-lines.ts';
import type { PolicyOwner } from './verify-policy.ts';

/** The parts that live while the agent runs. */
export interface KeepSessionOptions {
  readonly session: OpenSession;
  readonly calls: Calls;
  /** Hears of what is uploaded. */
  readonly witness: Pick<Witness, 'noteAck'>;
  /** Opens the stream that tells of new publications. */
  readonly watchPolicy: (signal: AbortSignal) => AsyncIterable<{ readonly seq: bigint }>;
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

/**
 * What goes on beside the running agent: the engine is warmed up, heartbeats tell of new policy, what earlier
 * sessions left is uploaded or swept away. All of it starts once the agent has, so that the agent waits for none of it.
 *
 * It prints nothing into the agent's screen, but for the alarm that no hook was called.
 */
export function keepSession(options: KeepSessionOptions): SessionKeeper {
  const { session, policy, hooks, renewals, terminal } = options;
  let stopWaiting = (): void => undefined;
  const startMode = policy.mode;
  const keeper = createPolicyKeeper({
    ...{ calls: options.calls, watch: options.watchPolicy, policy, owner: options.owner },
    onChange: () => recordChange(options, startMode),
  });
  let leftovers: ReplayReport | null = null;
  let swept: SweepReport | null = null;
  let stopped = false;
  let endedElsewhere = false;
  const onBeat = ({ policySeq, state }: Heartbeat): void => {
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
    keeper.noteSeq(policySeq);
  };
  return {
    onSpawn() {
      const beatNow = session.startHeartbeats({
        hooksSeen: hooks.wasCalled,
        hookConfigHash: hooks.configHash,
        onBeat,
      });
      stopWaiting = hooks.expectFirstEvent(firstEventWithinMs, {
        // Renewals of an enforced session wait until the backend knows.
        onFirst: beatNow,
        warn: () => terminal.warn(noHookYet),
      });
      renewals.start();
      void policy
        .warmUp(() => stopped)
        .then(async () => {
          if (!stopped) keeper.start();
          swept = await sweepRuntime(options.runtimeDir).catch(() => null);
          leftovers = await replay(options);
        });
    },
    stop() {
      stopped = true;
      stopWaiting();
      keeper.stop();
      renewals.stop();
      warnOfPolicy(policy, startMode, terminal);
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

/** `failureMode`: how the hook client still answers when it cannot reach us, which was settled when the agent started. */
function recordChange({ policy, hooks }: KeepSessionOptions, failureMode: Mode): void {
  const { version: policyVersion, mode, seq } = policy;
  const payload = JSON.stringify({ schema: 1, seq, failureMode });
  hooks.spool.intend({ kind: 'policy.changed', policyVersion, mode })?.(payload);
}

/** Said when the agent has left the screen. */
function warnOfPolicy(policy: ActivePolicy, startMode: Mode, { warn }: KeepSessionOptions['terminal']): void {
  if (startMode === 'observe' && policy.mode === 'enforce') {
    warn('the policy rose to enforce while the session ran; calls whose hook failed were still let run');
  }
  if (policy.stale) warn('the policy could not be refreshed; the last calls were decided with a stale one');
}

/** What cannot be sent now stays; `kontext status` shows it. */
function replay({ spool, calls, witness }: KeepSessionOptions): Promise<ReplayReport | null> {
  const { apiUrl, org, user } = spool.facts;
  const append = (streamId: string, batch: AppendBatch) => appendWitnessed(calls, witness, streamId, batch);
  const request = { root: spool.root, key: spool.key, owner: { apiUrl, org, user }, append };
  return replayLeftovers(request).catch(() => null);
}
