import { runHookClient } from '../hooks/client.ts';

/**
 * `kontext hook <agent> <event> <socket> <failure exit> <server pid> <max wait ms>`: hidden, stable contract.
 *
 * `kontext hook --ensure …` makes sure first that the daemon of `kontext setup` runs; the rest is the same.
 *
 * Agents run the bundled client `dist/hook.cjs`, which does the same without the command framework. Ends the process.
 *
 * @param args The words after `hook`, unparsed.
 */
export function runHook(args: readonly string[]): void {
  if (args[0] !== '--ensure') {
    runHookClient(args);
    return;
  }
  const client = args.slice(1);
  void import('../setup/ensure-for-hook.ts')
    .then(({ ensureForHook }) => ensureForHook(client))
    // The client meets the same failure, and answers as its arguments say.
    .catch(() => undefined)
    .then(() => runHookClient(client));
}
