/**
 * The Cedar schema of the domain: what a policy can speak about.
 *
 * `credential_use` and `session_start` are reserved: nothing evaluates them yet and a policy that names one is
 * refused. They stand here so that a rule has to say which action it is for (its context must fit), and goes on
 * meaning the same when they are built.
 */
export const cedarSchema = `
entity Group;
entity User in [Group] { role: String };
entity Tool;
entity Provider;
entity Agent;

action "tool_call" appliesTo {
  principal: [User],
  resource: [Tool],
  context: {
    // Name of the coding agent: "claude".
    agent: String,
    // "PreToolUse" or "PermissionRequest".
    event: String,
    // The shell command; empty for a tool that runs none.
    command: String,
    // Working directory; empty when the agent did not say.
    cwd: String,
    // The agent's own permission mode; empty when the agent did not say.
    permissionMode: String,
    // The redacted input as JSON, members from short to long, at most 16 KiB.
    inputText: String,
    // Something about the call does not stand here, so a rule may have missed it.
    opaque: Bool,
    // Why: "unreadable" (the hook server could not decode it), "malformed" (not Unicode, not JSON, too deep),
    // "clipped" (only the end of long texts is missing), or empty.
    opaqueCause: String,
  },
};
action "credential_use" appliesTo { principal: [User], resource: [Provider], context: {} };
action "session_start" appliesTo { principal: [User], resource: [Agent], context: {} };
`;

/** Actions of the schema that nothing evaluates yet. */
export const reservedActions: readonly string[] = ['credential_use', 'session_start'];

/** Id of the policy the engine adds to every set, so that only a forbid denies. */
export const basePermitId = 'kontext.base-permit';

/** The text of {@link basePermitId}. */
export const basePermitText = 'permit (principal, action == Action::"tool_call", resource);';
