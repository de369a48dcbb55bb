/**
 * Measures, inside a session, what one hook costs: spawn to exit of the hook client with the session's real hook
 * server answering. It sends self-tests, so nothing is recorded. Prints the median in milliseconds.
 *
 * Arguments: `<hook client> <rounds>`; the socket comes from `KONTEXT_SOCKET`, which every session sets.
 */
import { spawnSync } from 'node:child_process';

const [client = '', rounds = '15'] = process.argv.slice(2);
const socket = process.env.KONTEXT_SOCKET ?? '';
const times: number[] = [];
for (let round = 0; round < Number(rounds); round += 1) {
  const startedAt = performance.now();
  const args = ['claude', 'self-test', socket, '2', '0', '5000'];
  // The twin is a script, the native client a program.
  const [file, leading] = client.endsWith('.cjs') ? [process.execPath, [client]] : [client, []];
  const { status } = spawnSync(file, [...leading, ...args], {
    input: '{}',
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  if (status !== 0) process.exit(1);
  times.push(performance.now() - startedAt);
}
times.sort((a, b) => a - b);
process.stdout.write(`${(times[times.length >> 1] ?? 0).toFixed(2)}\n`);
