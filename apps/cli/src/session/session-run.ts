import type { PolicyText } from '@kontext/policy';
import type { AgentAdapter, LaunchPlan } from '../agents/agent.ts';
import type { Context } from '../context.ts';
import type { HookServer, HookServerOptions } from '../hooks/hook-server.ts';
import type { Backend } from '../rpc/open-backend.ts';
import type { loadTemplate } from './load-template.ts';
import type { OpenSession } from './open-session.ts';
import type { SessionFacts } from './session-facts.ts';

/** Longest wait of a hook, unless configured: a decision takes milliseconds, a person's approval up to three minutes. */
export const defaultMaxWaitMs = 190_000;

/** What is known before any login. */
export interface Preparation {
  readonly adapter: AgentAdapter;
  /** Absolute path of the agent. */
  readonly command: string;
  readonly plan: LaunchPlan;
  readonly template: ReturnType<typeof loadTemplate>;
}

/** What a session is run with. */
export interface SessionRun {
  readonly context: Context;
  readonly backend: Backend;
  readonly preparation: Preparation;
  /** `--allow-missing` */
  readonly allowMissing: boolean;
  /** Instead of starting the agent: for one that runs already and whose hooks reach us by another way. */
  readonly attached?: AttachedAgent;
}

/** An agent that somebody else has started. */
export interface AttachedAgent {
  /** Whether it has begun before, as it has when the daemon that heard it is gone. */
  readonly isUnderWay: boolean;
  /** Takes the session's handlers in place of a server of its own. */
  readonly listen: (options: HookServerOptions) => Promise<HookServer>;
  /** Called when its hooks are heard. @returns The exit code to record, once the agent is done. */
  readonly untilEnd: () => Promise<number>;
}

/** A run whose session is open. */
export interface OpenRun extends SessionRun {
  readonly session: OpenSession;
  readonly facts: SessionFacts;
  readonly interactive: boolean;
  /** Rules of this machine. */
  readonly localPolicies: readonly PolicyText[];
  readonly spoolKey: Promise<Buffer>;
  readonly setExitCode: (code: number) => void;
}
