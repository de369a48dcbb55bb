/** Every fault a release survives; docs/chaos.md says what each promises. */
import { partState } from '@kontext/testkit';
import { forgeBatches, shuffleBatches } from './batches.ts';
import { jumpClock } from './clock.ts';
import { fillPostgres, fillSpool, whyNoMount, whyNoPostgresMount } from './full-disks.ts';
import { loseKeyService } from './key-service-away.ts';
import { killBackend } from './kill-backend.ts';
import { killCommand } from './kill-command.ts';
import { sufferNetwork } from './network.ts';
import { stopPostgres } from './postgres-faults.ts';
import { killReplicas } from './replicas.ts';
import type { Scenario } from './scenario.ts';
import { sendSlowly } from './slow-senders.ts';

const anywhere = (): string => '';
const withPostgres = (): string => {
  const { available, reason } = partState('postgres');
  return available ? '' : reason;
};

/** In the order of the table. */
export const scenarios: readonly Scenario[] = [
  {
    name: 'backend-killed/embedded',
    promise: 'kill -9 of the backend in the middle of batches: what was acknowledged is stored, once',
    isQuick: true,
    skip: anywhere,
    run: (options) => killBackend('the embedded database', options),
  },
  {
    name: 'backend-killed/postgres',
    promise: 'the same on Postgres',
    isQuick: true,
    skip: withPostgres,
    run: (options) => killBackend('Postgres', options),
  },
  {
    name: 'command-killed',
    promise:
      'kill -9 of `kontext start`: the next run sends what was left, and no call runs blind in enforce',
    isQuick: true,
    skip: anywhere,
    run: killCommand,
  },
  {
    name: 'postgres-restarted',
    promise: 'Postgres restarted: events are taken within 5 s after it is back',
    isQuick: false,
    skip: withPostgres,
    run: (options) => stopPostgres('restart', options),
  },
  {
    name: 'postgres-killed',
    promise: 'kill -9 of Postgres: events are taken within 5 s after it is back',
    isQuick: true,
    skip: withPostgres,
    run: (options) => stopPostgres('kill', options),
  },
  {
    name: 'disk-full/postgres',
    promise: 'no space under Postgres: no false acknowledgement, and it goes on once there is room',
    isQuick: false,
    skip: whyNoPostgresMount,
    run: fillPostgres,
  },
  {
    name: 'disk-full/spool',
    promise: 'no space under the spool: calls are denied in enforce, what was dropped is said in one event',
    isQuick: true,
    skip: whyNoMount,
    run: fillSpool,
  },
  {
    name: 'clock-jumps',
    promise: 'the clock jumps a day ahead and two back in a session: order, uploads and verification go on',
    isQuick: true,
    skip: anywhere,
    run: jumpClock,
  },
  {
    name: 'network/away',
    promise:
      'backend unreachable: calls go on by policy, `kontext status` shows what waits, all is sent after',
    isQuick: true,
    skip: anywhere,
    run: (options) => sufferNetwork({ isAway: true }, options),
  },
  {
    name: 'network/lossy',
    promise: '30 % of requests lost: calls go on by policy, all is sent after',
    isQuick: false,
    skip: anywhere,
    run: (options) => sufferNetwork({ lossRate: 0.3 }, options),
  },
  {
    name: 'network/slow',
    promise: '500 ms of delay: calls go on by policy, all is sent after',
    isQuick: false,
    skip: anywhere,
    run: (options) => sufferNetwork({ delayMs: 500 }, options),
  },
  {
    name: 'batches-shuffled',
    promise: 'duplicate, reordered, overlapping, parallel batches: each event is stored once, in its place',
    isQuick: true,
    skip: anywhere,
    run: shuffleBatches,
  },
  {
    name: 'batches-forged',
    promise: "forged batches, and batches to another user's session: refused and recorded",
    isQuick: true,
    skip: anywhere,
    run: forgeBatches,
  },
  {
    name: 'slow-senders',
    promise: 'hundreds of connections that send a byte now and then: a good client is answered',
    isQuick: false,
    skip: anywhere,
    run: sendSlowly,
  },
  {
    name: 'key-service-away',
    promise:
      'the key service is away: credentials are refused cleanly, events are taken, the log goes on after',
    isQuick: false,
    skip: anywhere,
    run: loseKeyService,
  },
  {
    name: 'replicas',
    promise:
      'two backends on one Postgres, each killed in turn: the other goes on with the log, which stays one',
    isQuick: true,
    skip: withPostgres,
    run: killReplicas,
  },
];
