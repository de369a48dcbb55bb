import { setTimeout as sleep } from 'node:timers/promises';
import { listSocketDirectories } from '../hooks/sweep-runtime.ts';
import { hasLiveOwner } from '../process-mark.ts';
import { askSelf } from './ask-server.ts';

/** Both hooks of an event are started at once: the other's server may hear it a moment later than we do. */
const claimWithinMs = 600;
const askAgainMs = 40;

/**
 * Whether a conversation is heard by a `kontext start`, which decides and records it.
 *
 * Each live session is asked over its own socket, so a claim is made by a process that listens, not by a file. Without a
 * live session there is nobody to wait for.
 *
 * @param runtimeDirs Where sessions may have their sockets. @param except Directory of the daemon itself.
 */
export async function isHeardByStart(
  runtimeDirs: readonly string[],
  except: string,
  agentSession: string,
  withinMs = claimWithinMs,
): Promise<boolean> {
  const endAt = performance.now() + withinMs;
  for (;;) {
    const servers = [...new Set(runtimeDirs)]
      .flatMap(listSocketDirectories)
      .filter((path) => path !== except && hasLiveOwner(path));
    if (servers.length === 0) return false;
    const answers = await Promise.all(servers.map((path) => askSelf(`${path}/s`)));
    const claimed = answers.some(
      (said) => Array.isArray(said?.agentSessions) && said.agentSessions.includes(agentSession),
    );
    if (claimed) return true;
    // A server of another kind, such as an older daemon, claims nothing and cannot be waited for.
    const mayClaim = answers.some((said) => said !== null && said.daemon === undefined);
    if (!mayClaim || performance.now() > endAt) return false;
    await sleep(askAgainMs);
  }
}
