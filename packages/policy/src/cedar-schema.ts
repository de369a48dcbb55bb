/**
 * The Cedar schema of the domain: what a policy can speak about.
 *
 * A call is judged piece by piece: each part is one request, whose resource is that part. A rule about commands says
 * `resource is Command`; one that holds for every part says nothing of the resource.
 */
export const cedarSchema = `
entity Group;
entity Role;
// Groups of the organisation and the role as "in"; the user acts through context.agent in context.session.
entity User in [Group, Role] { role: String };

// A tool of the agent, by its name: Tool::"Bash". "input" is the redacted input as JSON, members from short to long, at
// most 16 KiB.
entity Tool { input: String };
entity McpServer;
// A tool of an MCP server: McpTool::"github/create_issue", in McpServer::"github".
entity McpTool in [McpServer] { server: String, tool: String, input: String };
// One simple command, by its program: Command::"git".
entity Command {
  // As written: "/usr/bin/git".
  path: String,
  // Program and arguments without quotes, single spaces between them, at most 16 KiB.
  line: String,
  subcommand: String,
  args: Set<String>,
  // "-r" and "-f" for "-rf"; "--force" for "--force=x".
  flags: Set<String>,
  // Variables assigned in front of it.
  assigns: Set<String>,
  // Wrappers around it: "sudo", "env", "sh", …
  via: Set<String>,
  // Program whose output it reads in a pipe; empty without.
  pipedFrom: String,
  // Something of it is only known when it runs.
  dynamic: Bool,
};
// A file, by its real path: File::"/etc/passwd".
entity File {
  path: String,
  // Last part of the path.
  name: String,
  // "read", "write", or "argument": named by a command, which does with it what it does.
  access: String,
  inProject: Bool,
  // Program that is given it; empty for a file tool.
  program: String,
};
// A host that is talked to, by its name in lower case: Host::"api.example.com".
entity Host { name: String, scheme: String, program: String };

// A provider, by its name: Provider::"github".
entity Provider { kind: String };
// A registered agent, by its name: Agent::"claude".
entity Agent;

action "tool_call" appliesTo {
  principal: [User],
  resource: [Tool, McpTool, Command, File, Host],
  context: {
    // Name of the coding agent, such as "claude", and its version; empty when it is not known.
    agent: String,
    agentVersion: String,
    session: String,
    // "PreToolUse", "PermissionRequest" or "Elicitation".
    event: String,
    // Tool of the call, also where the resource is one of its commands or files.
    tool: String,
    // The shell command as written, at most 16 KiB; empty for a tool that runs none.
    command: String,
    // Working directory; empty when the agent did not say.
    cwd: String,
    // The agent's own permission mode; empty when the agent did not say.
    permissionMode: String,
    // Kind of the sub-agent; empty for the main one.
    subagent: String,
    // Of the working directory: "github.com/acme/shop" and "main"; empty when there is none.
    repository: String,
    branch: String,
    // Providers whose credentials the session holds.
    credentials: Set<String>,
    // Programs of all commands of the call.
    programs: Set<String>,
    // When the call was made, and its hour (0 to 23) and weekday (1 Monday to 7 Sunday) in UTC.
    at: datetime,
    hour: Long,
    weekday: Long,
    // Something about the call does not stand here, so a rule may have missed it.
    opaque: Bool,
    // Why: "unreadable", "malformed", "unparsed", "dynamic", "clipped".
    opaqueCauses: Set<String>,
  },
};

// A credential of a provider is about to be handed out or renewed.
action "credential_use" appliesTo {
  principal: [User],
  resource: [Provider],
  context: {
    agent: String,
    // Empty outside of any session.
    session: String,
    // What the placeholder selects beyond the provider; empty without.
    target: String,
    scopes: Set<String>,
    at: datetime,
    hour: Long,
    weekday: Long,
  },
};

// A session is about to be opened.
action "session_start" appliesTo {
  principal: [User],
  resource: [Agent],
  context: {
    agentVersion: String,
    hostname: String,
    mode: String,
    at: datetime,
    hour: Long,
    weekday: Long,
  },
};
`;

/** Id of the policy the engine adds to every set, so that only a forbid denies. */
export const basePermitId = 'kontext.base-permit';

/** The text of {@link basePermitId}. */
export const basePermitText = 'permit (principal, action, resource);';
