/** One shell call that the agent of the demo makes. */
export interface ToolStep {
  readonly description: string;
  readonly command: string;
}

/**
 * What the agent does in the demo: uses both credentials, lists files, fails once, and tries to delete a folder.
 *
 * @param apiUrl Resource of the stand-in upstream that accepts the issued access token.
 */
export const demoSteps = (apiUrl: string): readonly ToolStep[] => [
  {
    description: 'call the provider with the exchanged token',
    command: `curl -fsS -H "Authorization: Bearer $DEMO_TOKEN" ${apiUrl} >/dev/null && echo "the provider accepted the token"`,
  },
  {
    description: 'look at the static key without printing it',
    command: 'test -n "$STRIPE_KEY" && echo "STRIPE_KEY has ${#STRIPE_KEY} characters"',
  },
  { description: 'list the project', command: 'ls -A | wc -l' },
  { description: 'run a command that fails', command: 'cat no-such-file.txt' },
  { description: 'delete a folder (policy forbids it)', command: 'rm -rf victim' },
  { description: 'see whether the folder is still there', command: 'test -d victim && echo "victim survived"' },
];
