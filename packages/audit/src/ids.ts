import { pooledRandomBytes, type RandomBytes } from './random-pool.ts';

/**
 * Prefix of every kind of id: organisation, user, session, audit stream, audit event, connection, lease, policy,
 * approval, provider, key, membership, identity, registered agent, OAuth grant, identity provider, invitation,
 * confirmation, webhook, webhook delivery, export, sink, sink delivery.
 */
export const idPrefixes = [
  'org',
  'usr',
  'ses',
  'str',
  'evt',
  'con',
  'lea',
  'pol',
  'apr',
  'prv',
  'key',
  'mem',
  'idn',
  'agt',
  'grt',
  'cnf',
  'idp',
  'inv',
  'whk',
  'whd',
  'exp',
  'snk',
  'skd',
] as const;

/** One of {@link idPrefixes}. */
export type IdPrefix = (typeof idPrefixes)[number];

declare const brand: unique symbol;

/** An id that was made by {@link createId} or checked by {@link isId}; ids of two kinds do not mix. */
export type Id<P extends IdPrefix> = `${P}_${string}` & { readonly [brand]: P };

/** Source of the regular expression of what follows an id's underscore. */
export const uuidPattern = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';
const uuidV7 = new RegExp(`^${uuidPattern}$`);

/**
 * Makes an id: prefix, underscore, UUIDv7 in lower-case hex with dashes (RFC 9562 §5.7).
 *
 * Ids of different milliseconds sort as text in order of time. Within one millisecond the order is random:
 * nothing may take order from ids, in the audit log it comes from `seq` alone.
 *
 * @param nowMs Unix time in milliseconds, 0 to 2⁴⁸ − 1; now when left out.
 */
export function createId<P extends IdPrefix>(
  prefix: P,
  nowMs: number = Date.now(),
  randomBytes: RandomBytes = pooledRandomBytes,
): Id<P> {
  const time = Math.floor(nowMs).toString(16).padStart(12, '0');
  const random = Buffer.from(randomBytes(10));
  // RFC 9562 §5.7: version 7 in the high nibble of octet 6, variant 10 in the high bits of octet 8.
  random.writeUInt8((random.readUInt8(0) & 0x0f) | 0x70, 0);
  random.writeUInt8((random.readUInt8(2) & 0x3f) | 0x80, 2);
  const hex = time + random.toString('hex');
  const uuid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  return `${prefix}_${uuid}` as Id<P>;
}

/** Whether a text is an id of that kind in its one spelling: right prefix, version 7, lower case. */
export function isId<P extends IdPrefix>(prefix: P, text: unknown): text is Id<P> {
  return (
    typeof text === 'string' && text.startsWith(`${prefix}_`) && uuidV7.test(text.slice(prefix.length + 1))
  );
}
