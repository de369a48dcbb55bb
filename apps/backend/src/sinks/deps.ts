import { KontextError } from '@kontext/errors';
import type { Kms } from '@kontext/vault';
import type { AppendSignal } from '../audit/append-signal.ts';
import { openRow, type SecretContext } from '../kms/sealed-secrets.ts';
import type { RateLimiter } from '../login/rate-limiter.ts';
import type { SafeFetch } from '../providers/safe-fetch.ts';
import type { KeyedSink, SinkRow } from '../store/queries/sinks.ts';
import type { Store } from '../store/store.ts';

/** What sinks need. */
export interface SinkDeps {
  readonly store: Store;
  readonly kms: Kms;
  readonly fetch: SafeFetch;
  readonly limiter: RateLimiter;
  readonly nowMs: () => number;
  /** Local mode: http to loopback is let through. */
  readonly local: boolean;
  readonly appended: AppendSignal;
  /** 0 to below 1; default `Math.random`. Only spreads attempts. */
  readonly random?: () => number;
}

/** What a sink's signing key is sealed for. */
export const secretContextOf = ({ id, orgId }: Pick<SinkRow, 'id' | 'orgId'>): SecretContext => ({
  purpose: 'sink',
  orgId,
  subjectId: id,
  version: 1,
});

/** Opens the signing key of a sink. Throws as `openRow` does. */
export async function openSinkSecret(kms: Kms, { sink, secret }: KeyedSink): Promise<string> {
  const opened = await openRow(kms, secretContextOf(sink), secret);
  const text = opened.toString('utf8');
  opened.fill(0);
  return text;
}

/** No sink of the organisation has that id. */
export const noSuchSink = (): KontextError => new KontextError('KX_NOT_FOUND', 'there is no such sink');
