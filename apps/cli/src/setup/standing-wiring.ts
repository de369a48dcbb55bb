import { realpathSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { KontextError } from '@kontext/errors';
import type { StandingWiring } from '../agents/standing.ts';
import type { Config } from '../config.ts';
import { hookClientPath } from '../hooks/hook-client-path.ts';
import { maxSocketPathBytes } from '../hooks/hook-server.ts';
import { programPath } from '../session/program-path.ts';
import { defaultMaxWaitMs } from '../session/session-run.ts';
import { daemonSocketPath } from './daemon-place.ts';

/** For whom hooks are set up. */
export interface WiringOptions {
  readonly mode: 'observe' | 'enforce';
  /** Platform of machines whose administrator sets them up for every user; left out: this user only. */
  readonly managedFor?: NodeJS.Platform;
}

/**
 * What `kontext setup` writes into an agent's settings.
 *
 * The first hooks start the daemon. Their environment is cleared and spelled out, because the agent's holds whatever a
 * project's settings put there. Managed settings cannot know a user's: home and session bus follow from the user's id.
 *
 * @throws KontextError `KX_SOCKET_FAILED` when the socket's path is too long, `KX_INTERNAL` without a hook client.
 */
export function standingWiring(config: Config, { mode, managedFor }: WiringOptions): StandingWiring {
  const socketPath = managedFor ? managedSocket(managedFor) : daemonSocketPath(config.runtimeDir);
  if (Buffer.byteLength(socketPath) > maxSocketPathBytes - 8) {
    throw new KontextError('KX_SOCKET_FAILED', 'the path of the hook socket is too long', {
      why: socketPath,
      hint: 'set XDG_RUNTIME_DIR to a shorter directory',
    });
  }
  const kept = managedFor ? managedNames : userNames;
  const assignments = kept.flatMap((name) => {
    const value = name === 'KONTEXT_API_URL' && managedFor ? config.apiUrl : config.environment[name];
    return value === undefined || value === '' ? [] : [`${name}=${value}`];
  });
  const program = stableProgramPath(config.environment.PATH);
  return {
    nodePath: process.execPath,
    client: hookClientPath(),
    socketPath,
    // The daemon may be another process tomorrow: the client compares its user.
    serverPid: 0,
    maxWaitMs: config.hookTimeoutMs ?? defaultMaxWaitMs,
    mode,
    environment: {},
    ensure: {
      command: '/usr/bin/env',
      args: ['-i', ...assignments, `KONTEXT_MODE=${mode}`, process.execPath, program, 'hook', '--ensure'],
    },
  };
}

/** Where the login is, and how it is reached. */
const userNames = [
  ...['HOME', 'PATH', 'LANG', 'XDG_CONFIG_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR'],
  ...['DBUS_SESSION_BUS_ADDRESS', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE'],
  ...[
    'KONTEXT_CONFIG_DIR',
    'KONTEXT_API_URL',
    'KONTEXT_ISSUER',
    'KONTEXT_LOGIN_STORE',
    'KONTEXT_HOOK_TIMEOUT_MS',
  ],
];
const managedNames = ['KONTEXT_API_URL'];

/** Systemd gives every user a directory of their own; elsewhere one is made, and must be ours. */
const managedSocket = (platform: NodeJS.Platform): string =>
  platform === 'linux' ? '/run/user/%u/kontext/d/s' : '/var/tmp/kontext-%u/d/s';

/** The path by which the next version will be found, too: a package manager's link, where it leads here. */
function stableProgramPath(path = ''): string {
  const own = programPath();
  const links = path
    .split(delimiter)
    .filter((directory) => isAbsolute(directory) && !directory.includes('node_modules'))
    .map((directory) => join(directory, 'kontext'));
  return links.find((link) => resolvesTo(link, own)) ?? own;
}

function resolvesTo(link: string, target: string): boolean {
  try {
    return realpathSync(link) === target;
  } catch {
    return false;
  }
}
