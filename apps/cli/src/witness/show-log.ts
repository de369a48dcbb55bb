import { setTimeout as sleep } from 'node:timers/promises';
import { isId, parseHeader } from '@kontext/audit';
import { KontextError } from '@kontext/errors';
import type { Context } from '../context.ts';
import { type Backend, openBackend } from '../rpc/open-backend.ts';
import { refuseInSession } from '../session/refuse-in-session.ts';
import { openCheckpoint, proveInLog, readProvenEvent } from './check-log.ts';
import { type Contact, createWitness, describeTrouble, type Witness } from './witness.ts';
import { forgetWitness, readWitness } from './witness-state.ts';

/** A witness of the caller's own organisation. */
export function witnessOf({ config }: Pick<Context, 'config'>, { calls, login }: Backend): Witness {
  return createWitness({ calls, owner: ownerOf(config, login) });
}

const ownerOf = ({ apiUrl, stateDir }: Context['config'], { org: orgId, logKey = '' }: Backend['login']) => ({
  apiUrl,
  stateDir,
  orgId,
  logKey,
});

/** `kontext audit checkpoint`: shows the newest checkpoint, verified. @returns The exit code. */
export async function showCheckpoint(
  context: Context,
  options: { readonly json: boolean; readonly forget: boolean },
) {
  if (options.forget) refuseInSession(context);
  const { terminal, config } = context;
  const backend = await openBackend(context);
  try {
    const owner = ownerOf(config, backend.login);
    if (options.forget) {
      forgetWitness(owner);
      terminal.note(
        'what this machine remembered of the audit log is forgotten; the next contact begins anew',
      );
      return 0;
    }
    const contact = await contactOrShow(context, backend);
    if (contact.checkpoint === null) throw noCheckpoint();
    const { origin, size, root } = contact.checkpoint;
    const [key, encoded] = [contact.key, Buffer.from(root).toString('base64')];
    if (options.json)
      terminal.json({ origin, size, root: encoded, note: contact.note, key, waiting: contact.waiting });
    else
      for (const line of [`log   ${origin}`, `size  ${size}`, `root  ${encoded}`, `key   ${key}`])
        terminal.out(line);
    return sayTrouble(context, backend) ?? 0;
  } finally {
    backend.close();
  }
}

/** Looks at the log; when that fails, what was seen before is said first. */
async function contactOrShow(context: Context, backend: Backend): Promise<Contact> {
  const { terminal, config } = context;
  try {
    const contact = await witnessOf(context, backend).contact();
    if (contact.pinnedNow) sayPinned(context, contact);
    return contact;
  } catch (error) {
    const { key, note, trouble } = readWitness(ownerOf(config, backend.login));
    if (note !== '' && trouble !== null) {
      const { size, root } = openCheckpoint(note, key, backend.login.org);
      terminal.note(`seen before: size ${size}, root ${Buffer.from(root).toString('base64')}`);
    }
    throw error;
  }
}

/** Says that the key of the log was pinned by this contact, as at a login that could not. */
export const sayPinned = ({ terminal }: Context, { key }: Contact): void =>
  terminal.note(`the key of the audit log was not known at login; it is pinned from now on: ${key}`);

/** Says what is remembered against the log. @returns Its exit code; null when there is nothing. */
export function sayTrouble({ terminal, config }: Context, { login }: Backend): number | null {
  const trouble = describeTrouble(readWitness(ownerOf(config, login)).trouble);
  if (trouble === null) return null;
  terminal.error(trouble);
  return trouble.spec.exitCode;
}

/** `kontext audit proof`: proves that the log holds an event, and shows how. @param what `evt_…` or `str_…:<seq>`. */
export async function showProof(context: Context, what: string, json: boolean): Promise<number> {
  const event = parseEvent(what);
  const { terminal, signal } = context;
  const backend = await openBackend(context);
  try {
    const { contact, checkpoint, proven } = await proveSoon(context, backend, event, signal);
    const header = await readProvenEvent(backend.calls, proven);
    const { id, kind } = parseHeader(header);
    if ('eventId' in event && id !== event.eventId) {
      throw new KontextError('KX_AUDIT_ALTERED', 'the backend proved another event than the one asked for', {
        why: `it has the id ${id}`,
      });
    }
    const { segment, leafIndex, seq } = proven;
    const [first, last, stream] = [segment.firstSeq, segment.lastSeq, segment.stream];
    if (json) {
      const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
      const leaf = {
        stream,
        firstSeq: first,
        lastSeq: last,
        prev: base64(segment.prev),
        head: base64(segment.head),
      };
      const proof = proven.proof.map(base64);
      terminal.json({
        event: id,
        kind,
        seq,
        header,
        segment: leaf,
        leafIndex,
        proof,
        note: contact.note,
        key: contact.key,
      });
    } else {
      terminal.out(`${id} (${kind}) is event ${seq} of ${stream}`);
      terminal.out(`in the segment of events ${first} to ${last}, leaf ${leafIndex} of ${checkpoint.size}`);
      terminal.note(`proven against the checkpoint that ${checkpoint.origin} has signed`);
    }
    return sayTrouble(context, backend) ?? 0;
  } finally {
    backend.close();
  }
}

type AskedEvent = Parameters<typeof proveInLog>[2];

function parseEvent(what: string): AskedEvent {
  if (isId('evt', what)) return { eventId: what };
  const [streamId = '', seq = '', ...rest] = what.split(':');
  if (isId('str', streamId) && /^[1-9]\d{0,14}$/.test(seq) && rest.length === 0)
    return { streamId, seq: Number(seq) };
  throw new KontextError('KX_USAGE', 'that names no event', {
    why: 'give its id, `evt_…`, or `str_…:<seq>`',
  });
}

/** An event that was just acknowledged is in one of the next checkpoints. */
async function proveSoon(context: Context, backend: Backend, event: AskedEvent, signal: AbortSignal) {
  for (let attempt = 0; ; attempt += 1) {
    const contact = await contactOrShow(context, backend);
    const { checkpoint } = contact;
    const proven = checkpoint && (await proveInLog(backend.calls, checkpoint, event));
    if (proven) return { contact, checkpoint, proven };
    if (attempt >= 10) throw noCheckpoint();
    await sleep(500, undefined, { signal });
  }
}

const noCheckpoint = (): KontextError =>
  new KontextError('KX_TEMPORARY', 'the audit log of the organisation has no such checkpoint yet', {
    why: 'the backend signs one within seconds of the first event, unless its key service is away',
  });
