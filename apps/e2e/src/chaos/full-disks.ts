import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHeader } from '@kontext/audit';
import { partState, startCrashPostgres } from '@kontext/testkit';
import { startPuppet } from '../puppet.ts';
import { type ChaosResult, must } from './scenario.ts';
import { callTool, startStage, until } from './stage.ts';

/** Why no small file system can be made here; empty when one can. */
export function whyNoMount(): string {
  if (process.getuid?.() !== 0) return 'only root may mount a small file system';
  try {
    mountSmall(1).remove();
    return '';
  } catch {
    return 'this machine does not let us mount a tmpfs';
  }
}

/** As {@link whyNoMount}, and Postgres. */
export const whyNoPostgresMount = (): string => partState('postgres').reason || whyNoMount();

/** A file system of so many MiB. */
function mountSmall(sizeMiB: number) {
  const path = mkdtempSync(join(tmpdir(), 'kx-small-'));
  const args = ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=755`, 'tmpfs', path];
  if (spawnSync('mount', args).status !== 0) throw new Error('mount');
  return {
    path,
    /** Writes until nothing fits. */
    fill(): void {
      const free = (): number => Number(statfsSync(path).bfree) * Number(statfsSync(path).bsize);
      for (let size = free(), n = 0; size >= 4096; size = Math.floor(free() / 2), n += 1) {
        try {
          writeFileSync(join(path, `ballast-${n}`), Buffer.alloc(Math.max(4096, size)));
        } catch {
          // That was the last of it.
        }
        if (n > 40) break;
      }
    },
    relieve(): void {
      for (let n = 0; n <= 41; n += 1) rmSync(join(path, `ballast-${n}`), { force: true });
    },
    remove(): void {
      spawnSync('umount', ['-l', path]);
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** No acknowledgement while the disk under Postgres is full; what waits is taken once there is room. */
export async function fillPostgres(): Promise<ChaosResult> {
  const disk = mountSmall(320);
  const postgres = await startCrashPostgres({ directory: disk.path });
  const close = async (): Promise<void> => {
    await postgres.stop();
    disk.remove();
  };
  const stage = await startStage({ databaseUrl: postgres.url, close }).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  try {
    const stream = await stage.sender.open();
    await stream.deliver(stream.write(50));
    disk.fill();
    let refused = 0;
    let taken = 0;
    let batch = stream.write(400);
    // Postgres has room of its own in files it holds already: it takes some before it refuses.
    for (let tries = 0; tries < 400 && refused < 5; tries += 1) {
      if ((await stream.send(batch)) === 'failed') refused += 1;
      else {
        taken += 1;
        batch = stream.write(400);
      }
    }
    const said = stage.sender.lastError;
    disk.relieve();
    const relievedAt = performance.now();
    // Postgres may have gone down over its log; an operator starts it again.
    if ((await stream.send(batch)) === 'failed') {
      await postgres.shutDown();
      await postgres.start();
    }
    await stream.deliver(batch);
    must(refused === 5, 'a full disk under Postgres is an error, not an acknowledgement');
    must(/KX_|unavailable|internal/.test(said), `the error says something: ${said}`);
    const recoveredMs = Math.round(performance.now() - relievedAt);
    return await stage.finish({ takenBeforeFull: taken, refused, recoveredMs });
  } catch (error) {
    await stage.close();
    throw error;
  }
}

/** With no room for the spool, calls are denied in enforce; what was dropped is said in one event when there is room. */
export async function fillSpool(): Promise<ChaosResult> {
  const stage = await startStage();
  const { world, sender } = stage;
  const disk = mountSmall(4);
  try {
    // The login is in the configuration; the state alone lies on the small disk.
    const puppet = await startPuppet({ ...world, env: { ...world.env, XDG_STATE_HOME: disk.path } }, [
      '--mode',
      'enforce',
    ]);
    // On a busy machine the first calls of an enforced session may be denied for taking too long.
    await until('a call runs before', async () => (await callTool(puppet, 'before')) === 0);
    await until('the first calls are sent', async () =>
      (await sender.readAll()).some(({ header }) => parseHeader(header).toolUse === 'toolu_before'),
    );
    disk.fill();
    const during: (number | null)[] = [];
    for (let n = 0; n < 4; n += 1) during.push(await callTool(puppet, `full${n}`));
    disk.relieve();
    await until('a call runs after', async () => (await callTool(puppet, 'after')) === 0);
    const { stderr, exitCode } = await puppet.end();
    await until('the last calls are stored', async () =>
      (await sender.readAll()).some(({ header }) => parseHeader(header).toolUse === 'toolu_after'),
    );
    const headers = (await sender.readAll()).map(({ header }) => parseHeader(header));
    const lostEvents = headers.filter(({ kind }) => kind === 'events.lost').length;
    must(exitCode === 0, `the session ends as ever: ${stderr}`);
    must(during.includes(2), `in enforce calls are denied while nothing can be written: ${during.join(' ')}`);
    must(lostEvents === 1, `one event says how many were dropped, not ${lostEvents}`);
    stage.noteCommandAcks();
    return await stage.finish({ denied: during.filter((code) => code === 2).length, lostEvents });
  } catch (error) {
    await stage.close();
    throw error;
  } finally {
    disk.remove();
  }
}
