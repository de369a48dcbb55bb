/**
 * Variables a template may not set: a cloned repository must not change how programs load or where the agent talks.
 *
 * Exact names, except a `*` at either end. Base-URL variables are listed one by one: an application's own
 * `ACME_BASE_URL` is nobody's business.
 */
export const refusedNames = [
  // kontext itself
  'KONTEXT_*',
  // how programs load
  'LD_*',
  'DYLD_*',
  'NODE_OPTIONS',
  'PATH',
  'PYTHONSTARTUP',
  'BASH_ENV',
  'GIT_SSH*',
  // where everything talks; programs read these in either case
  '*_PROXY',
  // configuration of agents
  'CLAUDE_*',
  'CODEX_*',
  'GEMINI_CLI_*',
  'OPENCODE_*',
  // base URLs and headers of agents and model SDKs
  'ANTHROPIC_BASE_URL',
  'ANTHROPIC_BEDROCK_BASE_URL',
  'ANTHROPIC_VERTEX_BASE_URL',
  'ANTHROPIC_FOUNDRY_BASE_URL',
  'ANTHROPIC_CUSTOM_HEADERS',
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

const toPattern = (name: string): RegExp =>
  new RegExp(`^${name.replace('*', '.*')}$`, name === '*_PROXY' ? 'i' : '');

const patterns = refusedNames.map(toPattern);

/** Whether a template may not set this variable, be its value a literal or a placeholder (design §4.1). */
export const isRefusedName = (name: string): boolean => patterns.some((pattern) => pattern.test(name));
