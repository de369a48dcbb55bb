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
    ...['HOME', 'SHELL', 'ENV', 'ZDOTDIR', 'PROMPT_COMMAND', 'XDG_CONFIG_HOME', 'GCONV_PATH', 'BUN_BE_BUN'],
    ...['NODE_PATH', 'NODE_TLS_REJECT_UNAUTHORIZED', 'NODE_EXTRA_CA_CERTS', 'NODE_COMPILE_CACHE'],
    ...['PYTHONPATH', 'PYTHONHOME', 'PERL5OPT', 'PERL5LIB', 'RUBYOPT', 'RUBYLIB'],
    ...['JAVA_TOOL_OPTIONS', '_JAVA_OPTIONS', 'JDK_JAVA_OPTIONS', 'DOTNET_STARTUP_HOOKS'],
    ...[
      'GIT_CONFIG_COUNT',
      'GIT_CONFIG_GLOBAL',
      'GIT_EXEC_PATH',
      'GIT_EXTERNAL_DIFF',
      'GIT_DIR',
      'GIT_SSL_NO_VERIFY',
    ],
    ...[
      'EDITOR',
      'GIT_EDITOR',
      'VISUAL',
      'PAGER',
      'GH_PAGER',
      'LESSOPEN',
      'BROWSER',
      'GIT_ASKPASS',
      'SSH_ASKPASS',
    ],
    ...[
      'SSL_CERT_FILE',
      'CURL_CA_BUNDLE',
      'REQUESTS_CA_BUNDLE',
      'CURL_HOME',
      'OPENSSL_CONF',
      'SSLKEYLOGFILE',
    ],
    ...['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE', 'KUBECONFIG', 'DOCKER_HOST'],
    ...['ANTHROPIC_UNIX_SOCKET', 'ANTHROPIC_AWS_BASE_URL', 'AWS_ENDPOINT_URL_BEDROCK_RUNTIME'],
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
    ...[
      'PYTHONUNBUFFERED',
      'GIT_COMMITTER_EMAIL',
      'JAVA_HOME',
      'HOMEPAGE',
      'SHELLY_KEY',
      'ENVIRONMENT',
      'EDITOR_KEY',
    ],
    ...[
      'AWS_REGION',
      'AWS_ENDPOINT_URL',
      'AWS_ACCESS_KEY_ID',
      'DOCKER_BUILDKIT',
      'PIP_INDEX_URL',
      'DATABASE_URL',
    ],
  ])('lets %s through', (name) => {
    expect(isRefusedName(name)).toBe(false);
  });
});
