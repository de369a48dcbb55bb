/**
 * Variables a template may not set: a cloned repository must not change how programs load or where the agent talks.
 *
 * A name is here when its value alone makes a program that people run anyway (shell, git, an interpreter, a cloud's
 * own command) run code of the repository, trust other certificates, or talk to somebody else. Not here is what
 * files of the repository decide as well, such as registries of packages, and what only one application reads.
 *
 * Exact names, except that one `*` stands for anything. Base-URL variables are listed one by one: an application's
 * own `ACME_BASE_URL` is nobody's business.
 */
export const refusedNames = [
  // kontext itself
  'KONTEXT_*',
  // how programs load
  'LD_*',
  'DYLD_*',
  'GCONV_PATH',
  'PATH',
  'BUN_*',
  'NODE_OPTIONS',
  'NODE_PATH',
  'NODE_COMPILE_CACHE',
  'NODE_REPL_EXTERNAL_MODULE',
  'PYTHONSTARTUP',
  'PYTHONPATH',
  'PYTHONHOME',
  'PYTHONUSERBASE',
  'PYTHONWARNINGS',
  'PERL5*',
  'PERLLIB',
  'RUBYOPT',
  'RUBYLIB',
  'JAVA_TOOL_OPTIONS',
  '_JAVA_OPTIONS',
  'JDK_JAVA_OPTIONS',
  'DOTNET_STARTUP_HOOKS',
  'CORECLR_*',
  'OPENSSL_CONF',
  'OPENSSL_ENGINES',
  'OPENSSL_MODULES',
  // the user's shell, and where programs look for the user's own configuration
  'SHELL',
  'ENV',
  'BASH_ENV',
  'ZDOTDIR',
  'PROMPT_COMMAND',
  'PS4',
  'HOME',
  'XDG_*',
  // programs that others start
  'GIT_SSH*',
  'GIT_CONFIG*',
  'GIT_EXEC_PATH',
  'GIT_TEMPLATE_DIR',
  'GIT_EXTERNAL_DIFF',
  'GIT_PROXY_COMMAND',
  'GIT_DIR',
  'GIT_COMMON_DIR',
  'EDITOR',
  'VISUAL',
  '*_EDITOR',
  '*PAGER',
  '*_ASKPASS',
  'LESSOPEN',
  'LESSCLOSE',
  'BROWSER',
  'AWS_CONFIG_FILE',
  'AWS_SHARED_CREDENTIALS_FILE',
  'KUBECONFIG',
  // whom TLS trusts, and who may read it
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'CURL_CA_BUNDLE',
  'CURL_HOME',
  'REQUESTS_CA_BUNDLE',
  'AWS_CA_BUNDLE',
  'GIT_SSL_*',
  'NODE_EXTRA_CA_CERTS',
  'NODE_TLS_REJECT_UNAUTHORIZED',
  'SSLKEYLOGFILE',
  // where everything talks; programs read these in either case
  '*_PROXY',
  'DOCKER_HOST',
  // configuration of agents
  'CLAUDE_*',
  'CODEX_*',
  'GEMINI_CLI_*',
  'OPENCODE_*',
  // base URLs and headers of agents and model SDKs
  'ANTHROPIC_BASE_URL',
  'ANTHROPIC_*_BASE_URL',
  'ANTHROPIC_UNIX_SOCKET',
  'ANTHROPIC_CUSTOM_HEADERS',
  'AWS_ENDPOINT_URL_BEDROCK*',
  'OPENAI_BASE_URL',
  'OPENAI_API_BASE',
  'AZURE_OPENAI_ENDPOINT',
  'GOOGLE_GEMINI_BASE_URL',
  'GOOGLE_VERTEX_BASE_URL',
  'GEMINI_BASE_URL',
  'MISTRAL_BASE_URL',
  'OPENROUTER_BASE_URL',
  'OLLAMA_HOST',
] as const;

const anyOf = (names: readonly string[], flags: string): RegExp =>
  new RegExp(`^(?:${names.map((name) => name.replace('*', '.*')).join('|')})$`, flags);

const patterns = [anyOf(refusedNames, ''), anyOf(['*_PROXY'], 'i')];

/** Whether a template may not set this variable, be its value a literal or a placeholder (design §4.1). */
export const isRefusedName = (name: string): boolean => patterns.some((pattern) => pattern.test(name));
