import { runCommand } from '@kontext/testkit';

/** Somebody to be added to the organisation. */
export interface Person {
  /** Name of their local account. */
  readonly name: string;
  /** Default `member`. */
  readonly role?: string;
  readonly groups?: readonly string[];
}

/** What opens a person's pages. */
export interface Login {
  readonly account: string;
  readonly passcode: string;
}

/**
 * Adds people with the operator's own command. The backend must not run: the embedded database is for one process.
 *
 * @param env Of the backend.
 * @returns Their logins by name.
 * @throws Error with its output when the command fails.
 */
export async function addPeople(
  [file = '', ...leading]: readonly string[],
  env: Readonly<Record<string, string>>,
  people: readonly Person[],
): Promise<ReadonlyMap<string, Login>> {
  const logins = new Map<string, Login>();
  for (const { name, role = 'member', groups = [] } of people) {
    const options = ['--role', role, ...groups.flatMap((group) => ['--group', group])];
    const { stdout, stderr } = await runCommand(file, [...leading, 'user', 'add', name, ...options], { env });
    const passcode = /passcode: (\S+)/.exec(stdout)?.[1];
    if (passcode === undefined) throw new Error(`${name} was not added: ${stdout}${stderr}`);
    logins.set(name, { account: name, passcode });
  }
  return logins;
}
