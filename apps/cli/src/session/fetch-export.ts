import { createHash, type Hash } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KontextError } from '@kontext/errors';
import { type Export, ExportFormat, ExportState } from '@kontext/protocol';
import type { Context } from '../context.ts';
import type { Clients } from '../rpc/clients.ts';

/** An export that was fetched. */
export interface FetchedExport {
  /** As it was asked for. */
  readonly path: string;
}

/** What is needed of a context here. */
type Parts = Pick<Context, 'terminal' | 'signal' | 'config'>;

const pollMs = 500;
/** Downloads that bring nothing at all before it is given up. */
const maxEmptyTries = 5;

/**
 * Waits until an export was made, and shows how far it is.
 *
 * @throws KontextError `KX_EXPORT_FAILED` with the backend's reason.
 */
export async function waitForExport(
  { terminal, signal }: Parts,
  clients: Clients,
  begun: Export,
): Promise<Export> {
  let row = begun;
  while (row.state === ExportState.RUNNING) {
    terminal.status(`making ${row.id}: ${row.events} events, ${row.bytes} bytes`);
    await sleep(pollMs, undefined, { signal });
    const { export: found } = await clients.audit.getExport({ exportId: row.id }, { signal });
    if (found !== undefined) row = found;
  }
  terminal.status(null);
  if (row.state === ExportState.READY) return row;
  throw new KontextError('KX_EXPORT_FAILED', `${row.id} cannot be fetched`, {
    why: row.state === ExportState.FAILED ? row.error : 'it has expired: exports are kept for 24 hours',
  });
}

/**
 * Fetches the bytes of an export into `<path>.part`, mode 0600, checks their hash and renames.
 *
 * A download that is cut off goes on where it was; also in a later run, as long as the `.part` is there.
 *
 * @param output Null: a name after the export, in the working directory.
 * @throws KontextError `KX_USAGE` when the file is there already, or something else than a file of ours stands where its `.part`
 * goes; `KX_EXPORT_FAILED` when its bytes are not the ones it was made of.
 */
export async function fetchExport(
  parts: Parts,
  clients: Clients,
  row: Export,
  output: string | null,
): Promise<FetchedExport> {
  const path = output ?? `kontext-audit-${row.id}.${row.format === ExportFormat.CSV ? 'csv' : 'jsonl'}`;
  const target = resolve(parts.config.cwd, path);
  if (existsSync(target))
    throw new KontextError('KX_USAGE', `${path} is there already`, { hint: 'name another file with `-o`' });
  const partial = `${target}.${row.id}.part`;
  const file = await openPartial(partial, path);
  let digest: Buffer;
  try {
    digest = await download(parts, clients, row, { file, shown: path });
    await file.sync();
  } finally {
    await file.close();
  }
  if (!digest.equals(Buffer.from(row.sha256))) {
    await rm(partial, { force: true });
    throw new KontextError('KX_EXPORT_FAILED', `${path} was not written`, {
      why: 'what came is not what the backend made',
      hint: `fetch it again with \`kontext audit export --id ${row.id}\``,
    });
  }
  await rename(partial, target);
  return { path };
}

/**
 * Opens what was fetched so far, or makes it: never by a link, and nobody else's file, which somebody could have put into the
 * directory to have the log written elsewhere, or to read it.
 */
async function openPartial(partial: string, shown: string): Promise<FileHandle> {
  const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  const flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
  const file = await open(partial, flags, 0o600).catch((cause: NodeJS.ErrnoException) => {
    // What O_NOFOLLOW answers for a link, which FreeBSD and NetBSD call otherwise.
    throw ['ELOOP', 'EMLINK', 'EFTYPE'].includes(cause.code ?? '')
      ? planted(partial, shown, cause)
      : notWritten(shown, cause);
  });
  const found = await file.stat();
  const isOurs = found.nlink === 1 && found.uid === process.geteuid?.() && (found.mode & 0o077) === 0;
  if (found.isFile() && isOurs) return file;
  await file.close();
  throw planted(partial, shown);
}

interface Partial {
  readonly file: FileHandle;
  readonly shown: string;
}

/** @returns SHA-256 of the whole file. */
async function download(
  { terminal, signal }: Parts,
  clients: Clients,
  row: Export,
  to: Partial,
): Promise<Buffer> {
  const hash = createHash('sha256');
  let have = await hashFile(to.file, hash);
  let emptyTries = 0;
  while (BigInt(have) < row.bytes) {
    const before = have;
    try {
      for await (const { data } of clients.audit.readExport(
        { exportId: row.id, offset: BigInt(have) },
        { signal },
      )) {
        await to.file.appendFile(data).catch((cause: unknown) => {
          throw notWritten(to.shown, cause);
        });
        hash.update(data);
        have += data.length;
        terminal.status(`fetching ${to.shown}: ${have} of ${row.bytes} bytes`);
      }
    } catch (error) {
      if (signal.aborted || !isPassing(error)) throw error;
    }
    emptyTries = have > before ? 0 : emptyTries + 1;
    if (emptyTries >= maxEmptyTries) throw cutOff(row, to.shown);
    if (have === before) await sleep(pollMs, undefined, { signal });
  }
  terminal.status(null);
  return hash.digest();
}

async function hashFile(file: FileHandle, hash: Hash): Promise<number> {
  let bytes = 0;
  for await (const chunk of file.createReadStream({ start: 0, autoClose: false })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return bytes;
}

/** What may be over at the next try; the backend's own answers are not. */
const isPassing = (error: unknown): boolean =>
  error instanceof KontextError &&
  ['KX_BACKEND_UNREACHABLE', 'KX_TEMPORARY', 'KX_RATE_LIMITED', 'KX_STORE_UNREACHABLE'].includes(error.code);

const cutOff = (row: Export, path: string): KontextError =>
  new KontextError('KX_BACKEND_UNREACHABLE', `${path} was not fetched to its end`, {
    hint: `go on with \`kontext audit export --id ${row.id} -o ${path}\``,
  });

const notWritten = (path: string, cause: unknown): KontextError => {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'an unknown error';
  return new KontextError('KX_USAGE', `${path} cannot be written`, {
    why: `the system answered ${code}`,
    cause,
  });
};

const planted = (partial: string, path: string, cause?: unknown): KontextError =>
  new KontextError('KX_USAGE', `${path} was not fetched`, {
    why: `a link, or what is not your own file of mode 0600, stands where the download goes: ${partial}`,
    hint: 'look at it and remove it, or name another file with `-o`',
    ...(cause === undefined ? {} : { cause }),
  });
