import type { AgentAdapter, HookWiring } from './agent.ts';

/** How the agent reaches the daemon of `kontext setup`. */
export interface StandingWiring extends HookWiring {
  /** Makes sure that the daemon runs, then asks it as the client does: program and leading arguments. */
  readonly ensure: { readonly command: string; readonly args: readonly string[] };
}

/** What we know of an agent's hooks that stand in its settings, for runs without `kontext start`. */
export interface StandingHooks {
  /** The agent as {@link AgentAdapter.name}. */
  readonly name: AgentAdapter['name'];
  /** File of the user's settings. @param home Home directory of the user. */
  settingsPath(environment: Readonly<Record<string, string>>, home: string): string;
  /** Our hooks, by event. */
  encodeHooks(wiring: StandingWiring): Readonly<Record<string, readonly unknown[]>>;
  /** Whether an entry of somebody's settings is one that {@link StandingHooks.encodeHooks} made, of any version. */
  isOurs(entry: unknown): boolean;
  /** The command line of such an entry; null for anything else. */
  commandOf(entry: unknown): { readonly command: string; readonly args: readonly string[] } | null;
  /** Text of settings that an administrator puts on every machine. */
  encodeManaged(wiring: StandingWiring): string;
  /** The event with which a conversation ends. */
  readonly endEvent: string;
  /** Where the agent looks for it, by platform. */
  readonly managedPaths: Readonly<Record<string, string>>;
  /** The id of the conversation in the beginning of an event that cannot be read whole; null when it is not there. */
  findSession(head: string): string | null;
}
