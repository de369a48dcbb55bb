import { describe, expect, it } from 'vitest';
import { isRefusedName } from './index.ts';

describe('isRefusedName', () => {
  it.each([
    ...[
      'KONTEXT_API_URL',
      'KONTEXT_',
      'LD_PRELOAD',
      'LD_LIBRARY_PATH',
      'DYLD_INSERT_LIBRARIES',
      'NODE_OPTIONS',
      'PATH',
    ],
    ...[
      'PYTHONSTARTUP',
      'BASH_ENV',
      'GIT_SSH',
      'GIT_SSH_COMMAND',
      'HTTP_PROXY',
      'https_proxy',
      'No_Proxy',
      'ALL_PROXY',
    ],
    ...[
      'ANTHROPIC_BASE_URL',
      'OPENAI_BASE_URL',
      'CLAUDE_CONFIG_DIR',
      'CLAUDE_CODE_USE_BEDROCK',
      'CODEX_HOME',
    ],
  ])('refuses %s', (name) => {
    expect(isRefusedName(name)).toBe(true);
  });

  it.each([
    ...[
      'ANTHROPIC_API_KEY',
      'OPENAI_API_KEY',
      'ACME_BASE_URL',
      'BASE_URL',
      'MY_PATH',
      'PATH_PREFIX',
      'PROXY',
      'LDAP_URL',
    ],
    ...[
      'GITHUB_TOKEN',
      'GIT_AUTHOR_NAME',
      'NODE_ENV',
      'MY_KONTEXT_X',
      'PROXY_PORT',
      'HTTP_PROXY_X',
      'CLAUDE',
    ],
  ])('lets %s through', (name) => {
    expect(isRefusedName(name)).toBe(false);
  });
});
