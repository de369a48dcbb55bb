/** Where the scripted run keeps its state and whom it talks to. */
export interface ClaudeEnvOptions {
  /** Scratch folder for `CLAUDE_CONFIG_DIR`; transcripts land here, so assert injected values by hash only. */
  readonly configDir: string;
  /** `url` of the model server. */
  readonly modelUrl: string;
}

/**
 * Variables under which the real Claude Code runs offline against a scripted model: no account, telemetry or updates.
 *
 * Add them to a small base (`PATH`, `HOME`); do not pass the developer's own `ANTHROPIC_*` or `CLAUDE_*` along.
 * `IS_SANDBOX=1` lets `--permission-mode bypassPermissions` work for root.
 */
export function claudeEnv(options: ClaudeEnvOptions): Readonly<Record<string, string>> {
  return {
    ANTHROPIC_BASE_URL: options.modelUrl,
    ANTHROPIC_API_KEY: 'sk-ant-scripted',
    CLAUDE_CONFIG_DIR: options.configDir,
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_TELEMETRY: '1',
    DISABLE_AUTOUPDATER: '1',
    DISABLE_ERROR_REPORTING: '1',
    IS_SANDBOX: '1',
  };
}
