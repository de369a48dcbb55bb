import { KontextError } from '@kontext/errors';
import { AppendStatus } from '@kontext/protocol';
import type { Clients } from '../rpc/clients.ts';
import type { AppendAnswer, AppendBatch } from '../spool/uploader.ts';

/** An upload never holds up the end of a session longer than this. */
const appendTimeoutMs = 15_000;

/** Sends one batch to a stream. @throws KontextError as the backend answers. */
export async function appendEvents(
  clients: Pick<Clients, 'audit'>,
  streamId: string,
  batch: AppendBatch,
): Promise<AppendAnswer> {
  const events = batch.events.map(({ seq, header, payload, salt, chain }) => ({
    seq: BigInt(seq),
    header,
    ...(payload === null ? {} : { payload }),
    salt: salt ?? new Uint8Array(),
    chain,
  }));
  const request = { streamId, prev: batch.prev, events };
  const answer = await clients.audit.appendEvents(request, { timeoutMs: appendTimeoutMs });
  const status = statusNames[answer.status];
  if (status === undefined) {
    throw new KontextError(
      'KX_NOT_A_BACKEND',
      'the backend answers to events in a way this version does not know',
    );
  }
  return { status, headSeq: Number(answer.headSeq), headHash: answer.headHash };
}

const statusNames: Readonly<Partial<Record<AppendStatus, AppendAnswer['status']>>> = {
  [AppendStatus.OK]: 'ok',
  [AppendStatus.DUP]: 'dup',
  [AppendStatus.GAP]: 'gap',
  [AppendStatus.FORK]: 'fork',
};
