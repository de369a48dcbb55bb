import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { World } from '../world.ts';

/** Logins that are kept in plain files. */
export function loginFiles(world: World): string[] {
  const folder = join(world.env.XDG_CONFIG_HOME ?? '', 'kontext', 'secrets');
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}
