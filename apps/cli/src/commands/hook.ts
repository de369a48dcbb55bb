import { runHookClient } from '../hooks/client.ts';

/**
 * `kontext hook <agent> <event> <socket> <failure exit> <server pid> <max wait ms>`: hidden, stable contract.
 *
 * Agents run the bundled client `dist/hook.cjs`, which does the same without the command framework. Ends the process.
 *
 * @param args The words after `hook`, unparsed.
 */
export const runHook = (args: readonly string[]): void => runHookClient(args);
