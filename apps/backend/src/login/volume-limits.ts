/**
 * How much one login, one person and one organisation may ask of a backend.
 *
 * Token buckets in the memory of each replica: they keep a runaway script from spoiling the service for others and cost no
 * database call; N replicas let N times as much through. What must be exact (wrong codes, wrong passcodes, confirmations)
 * is counted in the store, see `rate-limiter.ts`.
 */
import type { VolumeKind, VolumeLimits } from '../limits.ts';
import { refuseBeyond } from './rate-limiter.ts';

/** An organisation may have so many times what one person may, and an address, which many may share, so many exchanges. */
const organisationFactor = 10;
/** Buckets that are kept before the full ones are thrown away. */
const maxBuckets = 20_000;

/** Counts requests. Every method throws KontextError `KX_RATE_LIMITED` beyond the limit, with the seconds to wait. */
export interface VolumeLimiter {
  /** One authenticated call. */
  countCall(kind: VolumeKind, caller: { readonly userId: string; readonly orgId: string }): void;
  /** One exchange at the token endpoint, before it is known whose; by the key that proved itself, or the address. */
  countExchange(login: string): void;
  /** One request at the token endpoint, before anything is read of it. */
  countTokenRequest(address: string): void;
}

interface Bucket {
  /** Requests left at `atMs`. */
  left: number;
  atMs: number;
  readonly perMinute: number;
}

/** Creates the limiter of one replica. */
export function createVolumeLimiter(limits: VolumeLimits, nowMs: () => number): VolumeLimiter {
  const buckets = new Map<string, Bucket>();
  const take = (name: string, perMinute: number): void => {
    if (perMinute === 0) return;
    const now = nowMs();
    const bucket = buckets.get(name) ?? addBucket(buckets, name, { left: perMinute, atMs: now, perMinute });
    bucket.left = fill(bucket, now);
    bucket.atMs = now;
    const allowed = bucket.left >= 1;
    if (allowed) bucket.left -= 1;
    const retryAfterSeconds = Math.max(1, Math.ceil(((1 - bucket.left) * 60) / perMinute));
    refuseBeyond({ allowed, retryAfterSeconds }, 'too many requests in a short time');
  };
  return {
    countCall(kind, { userId, orgId }) {
      take(`${kind} ${userId}`, limits[kind]);
      take(`${kind} ${orgId}`, limits[kind] * organisationFactor);
    },
    countExchange: (login) => take(`exchange ${login}`, limits.exchange),
    countTokenRequest: (address) => take(`token ${address}`, limits.exchange * organisationFactor),
  };
}

function fill({ left, atMs, perMinute }: Bucket, now: number): number {
  return Math.min(perMinute, left + (Math.max(0, now - atMs) * perMinute) / 60_000);
}

/** Names come from outside: full buckets, which say nothing, are forgotten when there are many. */
function addBucket(buckets: Map<string, Bucket>, name: string, bucket: Bucket): Bucket {
  if (buckets.size >= maxBuckets) {
    for (const [known, old] of buckets) {
      if (fill(old, bucket.atMs) >= old.perMinute) buckets.delete(known);
    }
    if (buckets.size >= maxBuckets) buckets.clear();
  }
  buckets.set(name, bucket);
  return bucket;
}
