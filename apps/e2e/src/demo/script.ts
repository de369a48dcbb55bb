/** One shell call that the agent of the demo makes. */
export interface ToolStep {
  readonly description: string;
  readonly command: string;
}

/** Paths and addresses the calls of the demo need. */
export interface DemoFacts {
  /** Resource of the stand-in upstream that accepts the issued access token. */
  readonly apiUrl: string;
  /** The hook client that is measured. */
  readonly hookClient: string;
  /** Built `hook-timing.js`. */
  readonly hookTiming: string;
}

/** What the agent does in the demo: uses both credentials, lists files, fails once, and tries to delete a folder with the repository. */
export function demoSteps({ apiUrl, hookClient, hookTiming }: DemoFacts): readonly ToolStep[] {
  const node = `'${process.execPath}'`;
  const ask = `fetch('${apiUrl}',{headers:{authorization:'Bearer '+process.env.DEMO_TOKEN}}).then((r)=>process.exit(r.ok?0:1))`;
  return [
    {
      description: 'call the provider with the exchanged token',
      command: `${node} -e "${ask}" && touch token-accepted && echo "the provider accepted the token"`,
    },
    {
      description: 'count the characters of the static key, without printing it',
      command: 'printf %s "$STRIPE_KEY" | wc -c',
    },
    { description: 'run a command that fails', command: 'cat no-such-file.txt' },
    {
      description: 'measure what a hook costs',
      command: `${node} '${hookTiming}' '${hookClient}' 15 > hook-median.txt`,
    },
    { description: 'delete a folder and the repository (policy forbids it)', command: 'rm -rf victim .git' },
    {
      description: 'see whether the folder is still there',
      command: 'test -d victim && echo "the folder survived"',
    },
  ];
}
