import type { CallAction } from '@kontext/policy';
import type { HookReply } from '../hooks/frames.ts';
import type { HookClientPath } from '../hooks/hook-client-path.ts';

/** What a hook event is to us, whatever the agent calls it. */
export type EventStep =
  /** A tool call is about to run and can be blocked. */
  | 'proposed'
  /** The agent is about to ask its user whether a tool call may run; can be blocked. */
  | 'permission'
  /** A server of the agent is about to ask its user something; can be declined, and a failure lets it happen. */
  | 'elicitation'
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
  /** What the tool gave back, any JSON value; null where it gave nothing, or has not yet. */
  readonly result: unknown;
  /** Name of the MCP server the tool belongs to, where the agent says it. */
  readonly mcpServer: string | null;
  /** Kind of the sub-agent that calls; null for the main one. */
  readonly subagent: string | null;
  /** The agent's id of that sub-agent. */
  readonly subagentId: string | null;
  readonly cwd: string | null;
  /** The agent's own id of the conversation; a new one begins without the agent being started again. */
  readonly agentSession: string | null;
  readonly permissionMode: string | null;
  /** Facts worth recording that are not conversation: lengths, durations, sub-agent, reason of an end. Not cut yet. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What a call is about, told from its tool and input. */
export interface ToolReading {
  /** The command line where the tool runs one, else null. */
  readonly command: string | null;
  readonly actions: readonly CallAction[];
}

/** What the hook server tells the agent. No objection is `silent`; an explicit `allow` skips the agent's own prompt. */
export type Answer =
  | { readonly kind: 'silent' }
  /** A person approved this very call. */
  | { readonly kind: 'allow'; readonly approvalId: string }
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

/** Where an agent's settings may lie. */
export interface SettingsPlaces {
  /** Null when unknown. */
  readonly home: string | null;
  /** Directory the agent is started in. */
  readonly project: string;
  readonly environment: Readonly<Record<string, string>>;
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
  /**
   * Says what a call is about. Total: any JSON value may be the input, and a tool it does not know is about nothing.
   *
   * @param call Redacted; `command` inputs of shells are known to be texts.
   */
  readTool(call: Pick<AgentEvent, 'tool' | 'input' | 'mcpServer'>): ToolReading;
  /**
   * The part of an input that must stay what it was although the user was asked: agents let their user edit the rest in the
   * prompt, and write the user's answers into it.
   */
  steadyInput(tool: string, input: unknown): unknown;
  /** Whether the agent, started so, can ask its user itself. */
  isInteractive(plan: LaunchPlan, terminal: { readonly stdin: boolean; readonly stdout: boolean }): boolean;
  /** Whether a call in this permission mode can be asked about by the agent itself. */
  asksIn(permissionMode: string | null): boolean;
  /** The event that comes first in every run. */
  readonly startEvent: string;
  /** The event that tells of changed settings. */
  readonly settingsEvent: string;
  /** Beginning of the names of the packages it is installed by, whose version is the agent's. */
  readonly packageName: string;
  /** Oldest version whose hooks can deny when they fail. */
  readonly minVersion: string;
  /** Files whose settings reach the agent beside ours. */
  settingsFiles(places: SettingsPlaces): readonly string[];
  /** Those members of a settings file that bear on hooks, on what is loaded, or on whether anybody is asked. */
  guardedSettings(settings: unknown): unknown;
  /** Turns an answer into the client's reply. */
  encodeAnswer(event: string, answer: Answer): HookReply;
}
