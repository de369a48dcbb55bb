import { loadConfig } from '../config.ts';
import { runtimeDirOf } from './daemon-place.ts';
import { ensureDaemon } from './ensure-daemon.ts';

/**
 * Makes sure that the daemon runs whose socket a hook's arguments name.
 *
 * Its environment is what the settings' command line gave: the agent's own was cleared there, because a project's settings
 * could say in it where the backend is.
 *
 * @param args Of the hook client: agent, event, socket, ….
 * @throws KontextError `KX_DAEMON_FAILED`, and what loading the configuration throws.
 */
export async function ensureForHook(args: readonly string[]): Promise<void> {
  const { environment, mode } = loadConfig();
  const program = process.argv[1] ?? '';
  const runtimeDir = runtimeDirOf(args[2] ?? '');
  await ensureDaemon({ runtimeDir, mode: mode ?? 'observe', program, environment });
}
