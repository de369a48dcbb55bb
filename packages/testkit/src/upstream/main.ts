import { listenUpstream, type UpstreamOptions } from './upstream-app.ts';

/**
 * Process edge of the stand-in upstream: options as JSON in the first argument, one JSON line `{"url":…}` on standard
 * output when it listens. It ends when its standard input closes, so it never outlives whoever started it.
 */
const { url } = await listenUpstream(JSON.parse(process.argv[2] ?? '{}') as UpstreamOptions);
process.stdout.write(`${JSON.stringify({ url })}\n`);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
process.stdin.on('error', () => process.exit(0));
