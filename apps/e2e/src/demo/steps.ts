import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandResult, walkPages } from '@kontext/testkit';
import { runConfirmed } from '../run-confirmed.ts';
import { logIn, type World } from '../world.ts';
import type { PreparedAgent } from './prepare-agent.ts';

type Say = (text: string) => void;

/** The static key of the demo. It opens nothing: the demo's stand-ins are all there is. */
const staticKey = 'sk_demo_4eC39HqLyjWDarjtT1zdp7dc';

function expectOk(what: string, result: CommandResult): CommandResult {
  if (result.exitCode === 0) return result;
  throw new Error(`${what} ended with ${result.exitCode}\n${result.stdout}${result.stderr}`);
}

/**
 * Logs in by the device flow and approves the page itself, saying so. Falls back to file storage where the machine
 * has no keyring.
 */
export async function signIn(world: World, say: Say): Promise<void> {
  say(
    '\n2. kontext login   (the demo opens the approval page itself, with the passcode the backend printed)',
  );
  const shown = ({ uri, code }: { uri: string; code: string }) => say(`   code ${code} at ${uri}`);
  const first = await logIn(world, [], shown);
  if (first.exitCode === 0) return;
  if (!first.stderr.includes('KX_KEYRING')) expectOk('kontext login', first);
  say('   no OS keyring answers here: logging in with --insecure-storage, which keeps the login in a file');
  expectOk('kontext login --insecure-storage', await logIn(world, ['--insecure-storage'], shown));
}

/** Registers the stand-in upstream as an OAuth provider and connects the account, as a browser would. */
export async function connectUpstream(world: World, say: Say): Promise<void> {
  const { upstream } = world;
  if (upstream === null) throw new Error('the demo needs its upstream');
  say(
    '\n3. kontext providers add demo, kontext connect demo   (code + PKCE; the demo confirms and follows the links itself)',
  );
  await addUpstream(world);
  await followConnect(world);
}

/**
 * Adds the upstream under a name, `demo` when none is given, and registers the printed callback URL there.
 *
 * @param more More arguments of `kontext providers add`.
 */
export async function addUpstream(world: World, name = 'demo', more: readonly string[] = []): Promise<void> {
  const { upstream } = world;
  if (upstream === null) throw new Error('this world has no upstream');
  const added = expectOk(
    'kontext providers add',
    await runConfirmed(
      world,
      [
        ...['providers', 'add', name, '--client-id', upstream.clientId],
        ...['--authorization-endpoint', upstream.authorizationEndpoint],
        ...['--token-endpoint', upstream.tokenEndpoint, '--revocation-endpoint', upstream.revocationEndpoint],
        ...['--scope', 'read+write', ...more],
      ],
      { stdin: upstream.clientSecret },
    ),
  );
  const callback = /https?:\/\/[^\s"]+\/connect\/[^\s"]+/.exec(added.stdout + added.stderr)?.[0];
  if (callback === undefined) throw new Error(`no callback URL in: ${added.stdout}${added.stderr}`);
  await upstream.setRedirectUris([callback]);
}

/** Connects the upstream as a person with a browser would: opens the printed link, logs in there, approves. */
export async function followConnect(world: World, name = 'demo'): Promise<void> {
  const pending = await world.cli(['connect', name]);
  const uri = /https?:\/\/\S+\/connect\/\S+/.exec(pending.stdout + pending.stderr)?.[0];
  if (uri === undefined) throw new Error(`no link in: ${pending.stdout}${pending.stderr}`);
  const page = await walkPages(uri, { fields: { account: world.account, passcode: world.passcode } });
  if (page.status >= 400)
    throw new Error(`connecting ended with ${page.status} at ${page.url}: ${page.html}`);
}

/** Puts the demo's static key through standard input. */
export async function putStaticKey(world: World, say: Say): Promise<void> {
  say(
    '\n4. kontext secrets put stripe   (value on standard input; confirmed in the browser; sealed by the backend)',
  );
  expectOk(
    'kontext secrets put',
    await runConfirmed(world, ['secrets', 'put', 'stripe'], { stdin: staticKey }),
  );
}

/**
 * The project the agent works in: a template that holds no secret, and a folder somebody might delete.
 *
 * @returns Number of placeholders in the template.
 */
export function writeProject(world: World): number {
  const template = [
    '# committed: names credentials, holds none',
    'DEMO_TOKEN={{kontext:demo}}',
    'STRIPE_KEY={{kontext:stripe}}',
    'LOG_LEVEL=debug',
    '',
  ].join('\n');
  writeFileSync(join(world.home.workDir, '.env.kontext'), template);
  mkdirSync(join(world.home.workDir, 'victim'));
  writeFileSync(join(world.home.workDir, 'victim', 'thesis.txt'), 'years of work\n');
  return 2;
}

/** Runs the agent through kontext in enforce mode, its output passed on to standard error. */
export async function startAgent(world: World, agent: PreparedAgent): Promise<CommandResult> {
  const run = await world.cli(
    ['start', '--agent', 'claude', '--trust', '--mode', 'enforce', '--', ...agent.args],
    { env: agent.env, timeoutMs: 120_000 },
  );
  process.stderr.write(run.stdout.replace(/^(?=.)/gm, '   ') + run.stderr.replace(/^(?=.)/gm, '   '));
  return run;
}
