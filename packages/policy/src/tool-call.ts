/**
 * One call as policy sees it: the agent's JSON, decoded and redacted, before it becomes Cedar requests.
 *
 * This is what an event records and what replay reads, so it carries a version (`schema`). Version 1 had no parts.
 */
export interface ToolCall {
  readonly schema: 2;
  /** Name of the coding agent, such as `claude`. */
  readonly agent: string;
  /** Empty when it is not known. */
  readonly agentVersion: string;
  /** `PreToolUse`, `PermissionRequest`, `Elicitation`; the agent's own name. */
  readonly event: string;
  /** Name of the tool as the agent spells it, such as `Bash`; empty when it could not be read. */
  readonly tool: string;
  /** The tool's input after redaction: any JSON value. */
  readonly input: unknown;
  /** The shell command, for a tool that runs one. */
  readonly command: string | null;
  /** What the call does, piece by piece; every one is judged alone. The tool itself comes first. */
  readonly parts: readonly CallPart[];
  readonly cwd: string | null;
  /** The agent's own permission mode, such as `bypassPermissions`. */
  readonly permissionMode: string | null;
  /** Kind of the sub-agent that calls; null for the main one. */
  readonly subagent: string | null;
  /**
   * Why something about the call does not stand here, worst first: see {@link OpaqueCause}. Empty when all of it does.
   */
  readonly opaque: readonly OpaqueCause[];
  /** The repository of the working directory; null outside of any, or when nobody could tell in time. */
  readonly repository: Repository | null;
  /** Names of the providers whose credentials the session holds, sorted. */
  readonly credentials: readonly string[];
  /** When the call was made, milliseconds since 1970. */
  readonly atMs: number;
  /** `usr_…` */
  readonly user: string;
  /** `org_…` */
  readonly org: string;
  /** `ses_…` */
  readonly session: string;
  /** Groups of the user in the organisation. */
  readonly groups: readonly string[];
  /** Role of the user in the organisation. */
  readonly role: string;
}

/** Where a working directory belongs. */
export interface Repository {
  /** Host and path of its first remote without credentials, such as `github.com/acme/shop`; else the directory's name. */
  readonly name: string;
  /** Empty on a detached head. */
  readonly branch: string;
}

/**
 * Why a call is opaque.
 *
 * - `unreadable`: the hook server could not decode it at all;
 * - `malformed`: not Unicode, not JSON, too deep;
 * - `unparsed`: its shell command does not parse, or is of a shell we cannot read;
 * - `dynamic`: which program runs, or what an interpreter is fed, is only known when it runs (`eval "$x"`, `| sh`);
 * - `clipped`: only the end of long texts, or the last of very many parts, is missing.
 */
export type OpaqueCause = 'unreadable' | 'malformed' | 'unparsed' | 'dynamic' | 'clipped';

/** One piece of a call. */
export type CallPart = ToolPart | McpPart | CommandPart | FilePart | HostPart;

/** The tool itself; every call of a tool that is not of an MCP server has exactly one. */
export interface ToolPart {
  readonly kind: 'tool';
  readonly name: string;
}

/** A tool of an MCP server, instead of {@link ToolPart}. */
export interface McpPart {
  readonly kind: 'mcp';
  readonly server: string;
  readonly tool: string;
}

/**
 * One simple command, wherever it stood: in a pipe, a list, a subshell, a substitution, behind a wrapper, in text given to
 * another shell. A wrapper (`sudo`, `env`, `sh -c`, …) is a part of its own, and stands in `via` of what it runs.
 */
export interface CommandPart {
  readonly kind: 'command';
  /** Base name of the program, `git` for `/usr/bin/git` and `\git`; empty when only running tells. */
  readonly program: string;
  /** As written, without quotes. */
  readonly path: string;
  /** Arguments without quotes, in order; what only running tells stands as U+FFFD. At most 100, each at most 4 KiB. */
  readonly args: readonly string[];
  /** First argument that is no option and no value of a global one, as `push` of `git -C x push`; empty without. */
  readonly subcommand: string;
  /** Options, one each: `--force-with-lease=x` as `--force-with-lease`, `-rf` as `-r` and `-f` (and `-rf`). */
  readonly flags: readonly string[];
  /** Names of variables that are assigned in front of it. */
  readonly assigns: readonly string[];
  /** Wrappers around it, outermost first: `sudo`, `env`, `sh`. At most five levels; deeper is opaque. */
  readonly via: readonly string[];
  /** Program whose output is its input in a pipe; empty without. */
  readonly pipedFrom: string;
  /** Whether anything of it is only known when it runs. */
  readonly dynamic: boolean;
}

/** A file that is read or written: by a file tool, by a redirection, or named as an argument of a command. */
export interface FilePart {
  readonly kind: 'file';
  /** Absolute, `~` and `..` resolved, links followed as far as the path exists. */
  readonly path: string;
  readonly access: 'read' | 'write' | 'argument';
  /** Whether it lies inside the project, links followed. */
  readonly inProject: boolean;
  /** Program that is given it; empty for a file tool. */
  readonly program: string;
}

/** A host that is talked to: by a fetch tool, or named in a URL argument of a command. */
export interface HostPart {
  readonly kind: 'host';
  /** Lower case, without port. */
  readonly name: string;
  /** `https`, `ssh`, …; empty when it is not said. */
  readonly scheme: string;
  /** Program that talks to it; empty for a fetch tool. */
  readonly program: string;
}

/** Whether a deny is carried out. */
export type Mode = 'observe' | 'enforce';

/**
 * What policy says about a call. Precedence: deny > ask > sensitive > allow, over all its parts and all rules.
 *
 * Of several asks the one with four eyes counts, else one with an approver, else the first; parts that need different
 * approvers are a deny. Of rules as bad as each other the first of the set is named, for the first part it matches.
 *
 * The effect never depends on the mode: the mode travels beside it and the hook server acts on both.
 */
export interface Decision {
  readonly effect: 'allow' | 'deny' | 'ask';
  /** Id of the rule that decided; null when none did (allowed by default, or a failure). */
  readonly rule: string | null;
  /** For a person, one line. */
  readonly reason: string;
  /** The part that decided, in words, such as `command git push --force`; null when no rule did. */
  readonly part: string | null;
  /** Who has to approve an `ask`: a group or role of the organisation; null: the user, in the agent's own prompt. */
  readonly approver: string | null;
  /** Whether that must be another person than the user. */
  readonly fourEyes: boolean;
  /** A rule with `@effect("sensitive")` matched, whichever decided: not while the policy is stale. */
  readonly sensitive: boolean;
  readonly policyVersion: number;
  readonly mode: Mode;
  /** What went wrong inside the engine; the effect is then `deny`. Null when the evaluation was whole. */
  readonly failure: string | null;
}

/** One Cedar policy and the id that decisions name. */
export interface PolicyText {
  readonly id: string;
  readonly text: string;
}

/** A published set of policies. */
export interface PolicySet {
  /** Counts up with every publication. */
  readonly version: number;
  readonly policies: readonly PolicyText[];
}
