/**
 * Where the daemon of `kontext setup` is found: `<runtime directory>/d` is a link to the directory of its hook server, so
 * that a socket whose path settings can name belongs to one daemon after the other. Who points the link at itself has taken
 * over, in one step; who finds it pointing elsewhere ends.
 */
import { lstatSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { KontextError } from '@kontext/errors';

/** Path of the daemon's socket below a runtime directory. */
export const daemonSocketPath = (runtimeDir: string): string => join(linkPath(runtimeDir), 's');

/** The runtime directory of a socket path as settings hold it. */
export const runtimeDirOf = (socketPath: string): string =>
  dirname(dirname(socketPath.replace('%u', String(process.geteuid?.() ?? ''))));

const linkPath = (runtimeDir: string): string => join(runtimeDir, 'd');

/**
 * Makes a hook server's directory the daemon's.
 *
 * @throws KontextError `KX_SOCKET_FAILED` when something that is no link lies in its place.
 */
export function takePlace(runtimeDir: string, directory: string): void {
  const link = linkPath(runtimeDir);
  if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() === false) {
    throw new KontextError('KX_SOCKET_FAILED', `${link} cannot be used`, { why: 'it is not our link' });
  }
  const temporary = `${link}.${process.pid}`;
  rmSync(temporary, { force: true });
  symlinkSync(basename(directory), temporary);
  renameSync(temporary, link);
}

/** Directory of the daemon of the moment, dead or alive; null when there is none. */
export function daemonDirectory(runtimeDir: string): string | null {
  try {
    return join(runtimeDir, basename(readlinkSync(linkPath(runtimeDir))));
  } catch {
    return null;
  }
}

/** Gives the place up, unless another has taken it. */
export function leavePlace(runtimeDir: string, directory: string): void {
  if (daemonDirectory(runtimeDir) === directory) rmSync(linkPath(runtimeDir), { force: true });
}
