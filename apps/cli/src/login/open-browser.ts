import { spawn } from 'node:child_process';
import type { Config } from '../config.ts';

/**
 * Opens a link in the user's browser and does not wait for it. That no browser came up is no error: the link is
 * always shown as well.
 *
 * @param url Only http and https are opened; anything else from a backend could start another program.
 */
export function openBrowser(url: string, config: Pick<Config, 'browser' | 'environment'>): void {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) return;
  const command = config.browser ?? (process.platform === 'darwin' ? 'open' : 'xdg-open');
  const child = spawn(command, [url], { detached: true, stdio: 'ignore', env: config.environment });
  child.on('error', () => undefined);
  child.unref();
}
