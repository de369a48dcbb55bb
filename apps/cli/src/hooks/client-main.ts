/**
 * Entry of `dist/hook.cjs`, the bundle agents run on every tool call. The same contract as `kontext hook`, without
 * the command framework.
 */
import { runHookClient } from './client.ts';

runHookClient(process.argv.slice(2));
