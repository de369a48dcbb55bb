/**
 * One tool call as policy sees it: the agent's JSON, decoded and redacted, before it becomes a Cedar request.
 *
 * This view is what an event records and what replay reads, so it carries a version (`schema`).
 */
export interface ToolCall {
  readonly schema: 1;
  /** Name of the coding agent, such as `claude`. */
  readonly agent: string;
  readonly event: 'PreToolUse' | 'PermissionRequest';
  /** Name of the tool as the agent spells it, such as `Bash`; empty when it could not be read. */
  readonly tool: string;
  /** The tool's input after redaction: any JSON value. */
  readonly input: unknown;
  /** The shell command, for a tool that runs one. */
  readonly command: string | null;
  readonly cwd: string | null;
  /** The agent's own permission mode, such as `bypassPermissions`. */
  readonly permissionMode: string | null;
  /** Whether the hook server could not read the call whole: too long, too deep, undecodable. */
  readonly opaque: boolean;
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

/** Whether a deny is carried out. */
export type Mode = 'observe' | 'enforce';

/**
 * What policy says about a call. Precedence: deny > ask > allow.
 *
 * The effect never depends on the mode: the mode travels beside it and the hook server acts on both.
 */
export interface Decision {
  readonly effect: 'allow' | 'deny' | 'ask';
  /** Id of the rule that decided; null when none did (allowed by default, or a failure). */
  readonly rule: string | null;
  /** For a person, one line. */
  readonly reason: string;
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
