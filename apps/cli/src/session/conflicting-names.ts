/**
 * Variables that would take the place of ours: another name of the same credential, or a setting that makes tools look elsewhere.
 * When the env template sets one of a family, the rest of it is removed from what the parent had, unless the template sets it too.
 */

/** Names that say the same thing to some tool. */
export interface NameFamily {
  /** Any of these, set by the template, owns the family. */
  readonly owners: readonly string[];
  /** Removed then. */
  readonly conflicting: readonly string[];
  readonly why: string;
}

const family = (owners: readonly string[], conflicting: readonly string[], why: string): NameFamily => ({
  ...{ owners, why },
  conflicting: [...new Set([...owners, ...conflicting])],
});

/** The table; docs/credentials-in-long-sessions.md prints it. */
export const nameFamilies: readonly NameFamily[] = [
  family(
    ['GITHUB_TOKEN', 'GH_TOKEN'],
    [
      'GH_ENTERPRISE_TOKEN',
      'GITHUB_ENTERPRISE_TOKEN',
      'GITHUB_PAT',
      'GITHUB_OAUTH_TOKEN',
      'HOMEBREW_GITHUB_API_TOKEN',
    ],
    'gh takes GH_TOKEN before GITHUB_TOKEN, and both before its own login',
  ),
  family(
    ['GH_ENTERPRISE_TOKEN', 'GITHUB_ENTERPRISE_TOKEN'],
    [],
    'gh takes either for hosts other than github.com',
  ),
  family(
    ['GITLAB_TOKEN', 'GL_TOKEN', 'GITLAB_ACCESS_TOKEN'],
    ['GITLAB_PRIVATE_TOKEN', 'OAUTH_TOKEN', 'CI_JOB_TOKEN'],
    'glab and libraries read any of them',
  ),
  family(
    ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'],
    [
      ...['AWS_PROFILE', 'AWS_DEFAULT_PROFILE', 'AWS_SECURITY_TOKEN', 'AWS_CREDENTIAL_EXPIRATION'],
      ...['AWS_ROLE_ARN', 'AWS_ROLE_SESSION_NAME', 'AWS_WEB_IDENTITY_TOKEN_FILE'],
      ...['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_CREDENTIALS_FULL_URI'],
      ...[
        'AWS_CONTAINER_AUTHORIZATION_TOKEN',
        'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE',
        'AWS_BEARER_TOKEN_BEDROCK',
      ],
    ],
    'a session token of another key makes requests fail, and a profile sends them to another account',
  ),
  family(
    ['PGPASSWORD', 'PGUSER'],
    ['PGPASSFILE', 'PGSERVICE', 'PGSERVICEFILE', 'PGSSLCERT', 'PGSSLKEY'],
    'libpq fills in user, password and host from a service or a password file',
  ),
  family(
    ['GOOGLE_OAUTH_ACCESS_TOKEN', 'CLOUDSDK_AUTH_ACCESS_TOKEN', 'GOOGLE_APPLICATION_CREDENTIALS'],
    [
      'GOOGLE_CREDENTIALS',
      'CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE',
      'CLOUDSDK_AUTH_ACCESS_TOKEN_FILE',
      'GOOGLE_IMPERSONATE_SERVICE_ACCOUNT',
    ],
    'Google tools take a key file or another account before a token',
  ),
  family(
    ['NPM_TOKEN', 'NODE_AUTH_TOKEN'],
    ['NPM_AUTH_TOKEN', 'NPM_CONFIG__AUTH', 'npm_config__auth', 'npm_config__authToken'],
    'npm reads its token from any of them',
  ),
  family(
    ['SLACK_BOT_TOKEN', 'SLACK_TOKEN', 'SLACK_USER_TOKEN'],
    ['SLACK_API_TOKEN'],
    'Slack libraries read any of them',
  ),
  family(['LINEAR_API_KEY', 'LINEAR_ACCESS_TOKEN'], [], 'Linear tools read either'),
  family(['STRIPE_API_KEY', 'STRIPE_KEY', 'STRIPE_SECRET_KEY'], [], 'the Stripe tools read either'),
  family(['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HUGGINGFACE_TOKEN'], [], 'the hub library reads either'),
];

/**
 * Names to remove from an environment because the template sets others of their family.
 *
 * @param set Names the template sets, or meant to set.
 */
export function conflictingNames(set: ReadonlySet<string>): readonly string[] {
  const owned = nameFamilies.filter(({ owners }) => owners.some((name) => set.has(name)));
  return [...new Set(owned.flatMap(({ conflicting }) => conflicting))].filter((name) => !set.has(name));
}
