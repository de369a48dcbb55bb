import { KontextError } from '@kontext/errors';
import type { AppendStatusJson } from '@kontext/protocol';
import type { Calls } from '../rpc/calls.ts';
import type { AppendAnswer, AppendBatch } from '../spool/uploader.ts';
import type { Witness } from '../witness/witness.ts';

/** An upload never holds up the end of a session longer than this. */
const appendTimeoutMs = 15_000;

/** Sends one batch to a stream. @throws KontextError as the backend answers. */
export async function appendEvents(
  calls: Pick<Calls, 'appendEvents'>,
  streamId: string,
  batch: AppendBatch,
): Promise<AppendAnswer> {
  const events = batch.events.map(({ seq, header, payload, salt, chain }) => ({
    seq: String(seq),
    header,
    ...(payload === null ? {} : { payload }),
    ...(salt === null ? {} : { salt: base64(salt) }),
    chain: base64(chain),
  }));
  const request = { streamId, prev: base64(batch.prev), events };
  const answer = await calls.appendEvents(request, { timeoutMs: appendTimeoutMs });
  const status = answer.status && statusNames[answer.status];
  if (status === undefined) {
    throw new KontextError(
      'KX_NOT_A_BACKEND',
      'the backend answers to events in a way this version does not know',
    );
  }
  const headHash = Buffer.from(answer.headHash ?? '', 'base64');
  const { checkpoint = '' } = answer;
  return { status, headSeq: Number(answer.headSeq ?? 0), headHash, checkpoint };
}

/** As {@link appendEvents}, and a witness hears what was acknowledged. */
export async function appendWitnessed(
  calls: Pick<Calls, 'appendEvents'>,
  witness: Pick<Witness, 'noteAck'>,
  streamId: string,
  batch: AppendBatch,
): Promise<AppendAnswer> {
  const answer = await appendEvents(calls, streamId, batch);
  witness.noteAck(streamId, batch, answer);
  return answer;
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

const statusNames: Readonly<Partial<Record<AppendStatusJson, AppendAnswer['status']>>> = {
  APPEND_STATUS_OK: 'ok',
  APPEND_STATUS_DUP: 'dup',
  APPEND_STATUS_GAP: 'gap',
  APPEND_STATUS_FORK: 'fork',
};
