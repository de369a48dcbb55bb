import { readFileSync, writeFileSync } from 'node:fs';
import { url as inspectorUrl } from 'node:inspector';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { hardenProcess } from './harden-process.ts';

const filterPath = '/proc/self/coredump_filter';
const isLinux = process.platform === 'linux';
let filter = '';
beforeEach(() => {
  if (isLinux) filter = readFileSync(filterPath, 'utf8').trim();
});
afterEach(() => {
  if (isLinux) writeFileSync(filterPath, `0x${filter}`);
  process.removeAllListeners('SIGUSR1');
});

const harden = (change: object) => hardenProcess({ local: false, nodeOptions: '', execArgv: [], ...change });

test.runIf(isLinux)('a core dump holds no memory', () => {
  expect(filter).not.toBe('00000000');
  harden({});
  expect(readFileSync(filterPath, 'utf8').trim()).toBe('00000000');
});

test.runIf(isLinux)('the signal for a debugger opens none', async () => {
  let received = 0;
  harden({});
  process.on('SIGUSR1', () => {
    received += 1;
  });
  process.kill(process.pid, 'SIGUSR1');
  while (received === 0) await delay(10);
  expect(inspectorUrl()).toBeUndefined();
  expect(process.listenerCount('SIGUSR1')).toBe(2);
});

test('diagnostic reports are off', () => {
  if (process.report) process.report.reportOnFatalError = true;
  harden({});
  const { reportOnSignal, reportOnFatalError, reportOnUncaughtException } = process.report ?? {};
  expect([reportOnSignal, reportOnFatalError, reportOnUncaughtException]).toEqual([false, false, false]);
});

test.each([
  '--heapsnapshot-signal=SIGUSR2',
  '--heapsnapshot_signal=SIGUSR2',
  '--heapsnapshot-near-heap-limit=1',
  '--heap-prof',
  '--inspect',
  '--inspect=0.0.0.0:9229',
  '--inspect-brk',
  '--report-on-signal',
  '--report-on-fatalerror',
  '--report-uncaught-exception',
  '--abort-on-uncaught-exception',
])('outside local mode %s is refused, as an argument and in NODE_OPTIONS', (option) => {
  const refusal = expect.objectContaining({ code: 'KX_CONFIG_INVALID' });
  expect(() => harden({ execArgv: [option] })).toThrow(refusal);
  expect(() => harden({ nodeOptions: `--enable-source-maps  ${option}` })).toThrow(refusal);
  expect(() => harden({ local: true, execArgv: [option] })).not.toThrow();
});

test('other options are left alone', () => {
  const fine = ['--max-old-space-size=512', '--enable-source-maps', '--import=./report-on.mjs'];
  expect(() => harden({ execArgv: fine, nodeOptions: fine.join(' ') })).not.toThrow();
});
