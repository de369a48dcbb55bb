/** A world for chaos: logged in, without limits of volume, its wire tapped, and how a scenario ends. */
import { createReadStream, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { scratchHome } from '@kontext/testkit';
import { unlimited } from '../bench/session-world.ts';
import { bashCall, type Puppet, writeTemplate } from '../puppet.ts';
import type { Exchange } from '../recorder.ts';
import { logIn, startWorld, type World, type WorldOptions } from '../world.ts';
import { createLedger, type Ledger, type ReadEvent } from './ledger.ts';
import type { ChaosResult } from './scenario.ts';
import { createSender, type Sender } from './sender.ts';

/** See {@link startStage}. */
export interface Stage {
  readonly world: World;
  readonly ledger: Ledger;
  /** The owner on the wire. */
  readonly sender: Sender;
  /** Notes what the command was told by the backend, off the tap; call it before {@link Stage.finish}. */
  noteCommandAcks(): void;
  /** Exports the whole store, compares and verifies it offline, closes everything. */
  finish(figures?: ChaosResult['figures']): Promise<ChaosResult>;
  close(): Promise<void>;
}

/** @param options.close What else ends with the stage, a database for example. */
export async function startStage(
  options: WorldOptions & { readonly close?: () => Promise<void> } = {},
): Promise<Stage> {
  const { close = async () => undefined, ...worldOptions } = options;
  const backendEnv = { ...unlimited, ...options.backendEnv };
  const world = await startWorld({ upstream: false, recorded: true, ...worldOptions, backendEnv });
  const closeAll = async (): Promise<void> => {
    await world.close();
    await close();
  };
  try {
    const { exitCode, stderr } = await logIn(world, ['--insecure-storage']);
    if (exitCode !== 0) throw new Error(`login failed: ${stderr}`);
    writeTemplate(world, 'LOG_LEVEL=debug\n');
    const ledger = createLedger();
    const sender = await createSender(world, ledger);
    const stage: Stage = {
      world,
      ledger,
      sender,
      noteCommandAcks: () => {
        for (const exchange of world.recorder?.exchanges ?? []) noteAck(ledger, exchange);
      },
      finish: (figures = {}) => finish(stage, figures).finally(closeAll),
      close: closeAll,
    };
    return stage;
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** An answer that came through whole. */
function noteAck(ledger: Ledger, exchange: Exchange): void {
  if (exchange.status !== 200 || !exchange.path.endsWith('/AppendEvents')) return;
  try {
    const { status } = JSON.parse(exchange.responseBody.toString()) as { status?: string };
    if (status !== 'APPEND_STATUS_OK' && status !== 'APPEND_STATUS_DUP') return;
    const { streamId, events } = JSON.parse(exchange.requestBody.toString()) as AppendBody;
    ledger.acknowledge(events.map(({ seq, chain }) => ({ stream: streamId, seq: Number(seq), chain })));
  } catch {
    // An answer that was cut off acknowledges nothing.
  }
}

interface AppendBody {
  readonly streamId: string;
  readonly events: readonly { readonly seq: string; readonly chain: string }[];
}

async function finish({ ledger, world }: Stage, figures: ChaosResult['figures']): Promise<ChaosResult> {
  const file = join(world.home.root, 'chaos-export.jsonl');
  for (let attempt = 1; ; attempt += 1) {
    // The log takes in what was accepted each second; an export is of what it holds.
    await sleep(1200);
    rmSync(file, { force: true });
    const exported = await world.cli(['audit', 'export', '-o', file], { timeoutMs: 120_000 });
    if (exported.exitCode !== 0) throw new Error(`the store cannot be exported: ${exported.stderr}`);
    const counts = ledger.compare(await readEvents(file));
    if (counts.lost > 0 && attempt < 10) continue;
    return { ...counts, verify: await verifyOffline(world, file), figures };
  }
}

/** The events of a bundle. */
async function readEvents(file: string): Promise<ReadEvent[]> {
  const found: ReadEvent[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (line.startsWith('{"event":')) found.push((JSON.parse(line) as { event: ReadEvent }).event);
  }
  return found;
}

/** On another machine, as it were: nothing but the file and the key of the log. @returns The verifier's exit code. */
async function verifyOffline(world: World, file: string): Promise<number> {
  const { stdout } = await world.cli(['audit', 'checkpoint', '--json']);
  const { key } = JSON.parse(stdout) as { key: string };
  const elsewhere = scratchHome();
  try {
    const verified = await world.cli(['audit', 'verify', file, '--key', key], {
      env: { ...elsewhere.env, KONTEXT_API_URL: 'http://127.0.0.1:1' },
      timeoutMs: 120_000,
    });
    if (verified.exitCode !== 0) process.stderr.write(verified.stderr);
    return verified.exitCode ?? 1;
  } finally {
    elsewhere.remove();
  }
}

/** Calls a tool the way an agent does: before and after. @returns The exit code of the first hook. */
export async function callTool(puppet: Puppet, id: string): Promise<number | null> {
  const call = bashCall(`echo ${id}`, id);
  const { exitCode } = await puppet.hook('PreToolUse', call);
  await puppet.hook('PostToolUse', { ...call, tool_response: 'ok', duration_ms: 1 });
  return exitCode;
}

/** Runs work until it says it is done. @throws Error with the sentence after so many milliseconds. */
export async function until(
  sentence: string,
  isDone: () => boolean | Promise<boolean>,
  withinMs = 30_000,
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await isDone())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${sentence}`);
    await sleep(100);
  }
}
