import { existsSync } from 'node:fs';
import { KontextError } from '@kontext/errors';
import type { Context } from '../context.ts';
import { loadLogin } from '../login/load-login.ts';
import type { Login } from '../login/login-item.ts';
import { openSecretStore } from '../login/open-secret-store.ts';
import { cliVersion } from '../version.ts';

/** `kontext` alone on a terminal: where things stand, and the one next step. Sends no request. */
export async function showOverview({ config, terminal }: Context): Promise<number> {
  const { login, problem } = await readLogin({ config, terminal });
  const hasTemplate = existsSync(config.envFile);
  terminal.out(`kontext ${cliVersion}`);
  terminal.out(`account   ${login ? `${login.name} at ${config.apiUrl}` : 'nobody is logged in'}`);
  terminal.out(`template  ${hasTemplate ? config.envFile : 'none in this directory'}`);
  terminal.out(`next      ${problem ?? nextStep(login !== null, hasTemplate, config.agent)}`);
  terminal.out('          all commands: kontext --help');
  return 0;
}

async function readLogin(context: Pick<Context, 'config' | 'terminal'>) {
  const { config, terminal } = context;
  let login: Login | null = null;
  let problem: string | null = null;
  try {
    login = await loadLogin(config, openSecretStore(config, terminal));
  } catch (error) {
    if (!(error instanceof KontextError)) throw error;
    if (error.code !== 'KX_NOT_LOGGED_IN') problem = `${error.message}: ${error.hint}`;
  }
  return { login, problem };
}

function nextStep(loggedIn: boolean, hasTemplate: boolean, agent: string): string {
  if (!loggedIn) return 'run `kontext login`';
  return hasTemplate
    ? `run \`kontext start --agent ${agent}\``
    : 'make .env.kontext, then run `kontext start`';
}
