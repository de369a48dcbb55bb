import { runCommand, scratchHome } from '@kontext/testkit';
import { logIn, type World } from './world.ts';

/**
 * The same backend seen from another person's machine: their home, their login. Logs in by the device flow.
 *
 * @returns A world whose `close` removes the home and leaves the backend alone.
 * @throws Error when there is no such person, or the login fails.
 */
export async function worldOf(world: World, name: string): Promise<World> {
  const login = world.people.get(name);
  if (login === undefined) throw new Error(`nobody is called ${name}`);
  const home = scratchHome();
  const env = { ...world.env, ...home.env };
  const [file = '', ...leading] = world.programs.kontext;
  const theirs: World = {
    ...world,
    ...login,
    ...{ home, env },
    cli: (args, run = {}) =>
      runCommand(file, [...leading, ...args], {
        cwd: run.cwd ?? home.workDir,
        env: { ...env, ...run.env },
        stdin: run.stdin ?? '',
        timeoutMs: run.timeoutMs ?? 60_000,
      }),
    close: async () => home.remove(),
  };
  const { exitCode, stderr } = await logIn(theirs, ['--insecure-storage']);
  if (exitCode !== 0) throw new Error(`${name} could not log in: ${stderr}`);
  return theirs;
}
