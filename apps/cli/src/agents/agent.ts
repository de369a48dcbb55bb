import type { CallAction } from '@kontext/policy';
import type { HookReply } from '../hooks/frames.ts';
import type { HookClientPath } from '../hooks/hook-client-path.ts';

/** What a hook event is to us, whatever the agent calls it. */
export type EventStep =
  /** A tool call is about to run and can be blocked. */
  | 'proposed'
  /** The agent is about to ask its user whether a tool call may run; can be blocked. */
  | 'permission'
  | 'completed'
  | 'failed'
  /** Anything else; can never be blocked. */
  | 'other';

/** An event of an agent in our form; not redacted yet. Decoded once, when it arrives. */
export interface AgentEvent {
  /** The agent's own name of the event. */
  readonly event: string;
  readonly step: EventStep;
  readonly tool: string | null;
  /** The agent's id of the tool call, which pairs its events. */
  readonly toolUse: string | null;
  /** Arguments of the tool, any JSON value. */
  readonly input: unknown;
  /** The command line where the tool is a shell, else null. */
  readonly command: string | null;
  /** What the call is about, for policy. Empty for an event that is no call. */
  readonly actions: readonly CallAction[];
  /** Kind of the sub-agent that calls; null for the main one. */
  readonly subagent: string | null;
  readonly cwd: string | null;
  readonly permissionMode: string | null;
  /** Facts worth recording that are not conversation: lengths, durations, sub-agent, reason of an end. Not cut yet. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What the hook server tells the agent. There is no "allow": no objection is `silent`. */
export type Answer =
  | { readonly kind: 'silent' }
  | { readonly kind: 'deny'; readonly reason: string }
  | { readonly kind: 'ask'; readonly reason: string };

/** How the agent reaches the hook client; all of it ends up in the client's arguments. */
export interface HookWiring {
  /** Absolute path of the Node that runs the twin. */
  readonly nodePath: string;
  readonly client: HookClientPath;
  readonly socketPath: string;
  readonly serverPid: number;
  /** Longest wait of a hook; the agent's own timeout is set above it. */
  readonly maxWaitMs: number;
  /** In `enforce` a hook that fails blocks the call. */
  readonly mode: 'observe' | 'enforce';
  /** The user's own environment: what it says of how programs load holds against a project's settings. */
  readonly environment: Readonly<Record<string, string>>;
}

/** The agent's command line, checked and taken apart. */
export interface LaunchPlan {
  /** The user's arguments without what we replace. */
  readonly args: readonly string[];
  /** The user's own settings from the command line, merged. */
  readonly userSettings: Readonly<Record<string, unknown>>;
}

/** A short run of the agent that shows whether it takes the user's settings. */
export interface SettingsCheck {
  /** Text of the settings file of that run. */
  readonly settings: string;
  readonly args: readonly string[];
  /** Set over the user's own environment, less {@link SettingsCheck.withoutVariables}. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables whose names begin with one of these are left out. */
  readonly withoutVariables: readonly string[];
}

/** Everything we know about one coding agent. Pure, but for the reading of files the user names. */
export interface AgentAdapter {
  /** Name under which the backend knows it. */
  readonly name: string;
  /** Program to look for on PATH. */
  readonly executable: string;
  /** Variables removed from its environment: they would switch hooks off or steer them. */
  readonly clearedVariables: readonly string[];
  /**
   * Checks the user's arguments.
   *
   * @param readFile Reads a settings file the user names; a path is as the user wrote it.
   * @throws KontextError `KX_AGENT_FLAG_REFUSED` for a flag that switches hooks off.
   * @throws KontextError `KX_AGENT_SETTINGS_INVALID` when the user's settings cannot be read.
   */
  planLaunch(args: readonly string[], readFile: (path: string) => string): LaunchPlan;
  /** The settings file's text: the user's settings under ours. */
  encodeSettings(plan: LaunchPlan, wiring: HookWiring): string;
  /**
   * How the agent itself is asked whether it takes the user's settings: one entry it refuses can cost all of them,
   * our hooks included. The run happens in an empty directory, calls no model and runs no command of the user.
   *
   * @param directory Private directory of the run. @param markerPath File that a hook of ours makes when hooks work.
   */
  planSettingsCheck(
    plan: LaunchPlan,
    paths: { readonly directory: string; readonly settingsPath: string; readonly markerPath: string },
  ): SettingsCheck;
  /** The arguments to start it with. */
  launchArgs(plan: LaunchPlan, settingsPath: string): string[];
  /** The step of an event by its name alone, for input that cannot be read. */
  stepOf(event: string): EventStep;
  /**
   * Reads one event.
   *
   * @param event Name of the event from the client's arguments.
   * @param value The parsed stdin; JSON of any shape, at most 64 deep.
   * @throws KontextError `KX_HOOK_INPUT` when it is not what the agent sends for that event.
   */
  decodeEvent(event: string, value: unknown): AgentEvent;
  /** Turns an answer into the client's reply. */
  encodeAnswer(event: string, answer: Answer): HookReply;
}
