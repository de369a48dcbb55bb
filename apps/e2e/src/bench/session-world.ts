import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runConfirmed } from '../run-confirmed.ts';
import { logIn, startWorld, type World } from '../world.ts';

/** A bench asks for more than any person would. */
export const unlimited = {
  KONTEXT_RPC_PER_MINUTE: '0',
  KONTEXT_EXCHANGES_PER_MINUTE: '0',
  KONTEXT_EVENTS_PER_MINUTE: '0',
};

/** A world that is logged in and has three placeholders to resolve, all static keys. */
export async function startSessionWorld(): Promise<World> {
  const world = await startWorld({ upstream: false, backendEnv: unlimited });
  const login = await logIn(world, ['--insecure-storage']);
  if (login.exitCode !== 0) throw new Error(`login failed: ${login.stderr}`);
  const names = ['alpha', 'beta', 'gamma'];
  for (const name of names) {
    const put = await runConfirmed(world, ['secrets', 'put', name], { stdin: `value-of-${name}-0123456789` });
    if (put.exitCode !== 0) throw new Error(`secrets put failed: ${put.stderr}`);
  }
  const template = names.map((name) => `${name.toUpperCase()}_KEY={{kontext:${name}}}\n`).join('');
  writeFileSync(join(world.home.workDir, '.env.kontext'), template);
  return world;
}

/** PATH with a program called `claude` in front. */
export function pathWithAgent(world: World, script: string): string {
  const bin = join(world.home.root, 'bin');
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, 'claude'), script);
  chmodSync(join(bin, 'claude'), 0o755);
  return `${bin}:${world.env.PATH ?? ''}`;
}
