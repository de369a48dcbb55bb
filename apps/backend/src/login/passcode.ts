import { randomBytes, randomInt, scrypt, timingSafeEqual } from 'node:crypto';

/** Without 0, O, 1, I and L: a person types it from a terminal. 31 characters; 12 of them carry 59 bits. */
const alphabet = '23456789ABCDEFGHJKMNPQRSTUVWXYZ';

/** A passcode as it is stored: scrypt (RFC 7914) with its parameters beside it. */
export interface HashedPasscode {
  readonly hash: Buffer;
  readonly salt: Buffer;
  /** `N=…,r=…,p=…`. */
  readonly params: string;
}

const current = { N: 2 ** 15, r: 8, p: 1 } as const;
const hashBytes = 32;

/** Makes a passcode of the form `XXXX-XXXX-XXXX`. It is shown once and stored as a hash only. */
export function createPasscode(): string {
  const group = (): string =>
    Array.from({ length: 4 }, () => alphabet.charAt(randomInt(alphabet.length))).join('');
  return `${group()}-${group()}-${group()}`;
}

/** Hashes a passcode under a fresh salt: about 60 ms and 32 MB. */
export async function hashPasscode(passcode: string): Promise<HashedPasscode> {
  const salt = randomBytes(16);
  return {
    hash: await derive(passcode, salt, current),
    salt,
    params: `N=${current.N},r=${current.r},p=${current.p}`,
  };
}

/** Whether a passcode is the hashed one. Case, spaces and dashes do not count. False for unreadable parameters. */
export async function verifyPasscode(passcode: string, stored: HashedPasscode): Promise<boolean> {
  const match = /^N=(\d{1,7}),r=(\d{1,2}),p=(\d{1,2})$/.exec(stored.params);
  if (!match || stored.hash.length !== hashBytes) return false;
  const cost = { N: Number(match[1]), r: Number(match[2]), p: Number(match[3]) };
  return timingSafeEqual(await derive(passcode, stored.salt, cost), stored.hash);
}

function derive(
  passcode: string,
  salt: Buffer,
  cost: { readonly N: number; readonly r: number; readonly p: number },
): Promise<Buffer> {
  const normal = passcode.toUpperCase().replace(/[^A-Z0-9]/g, '');
  return new Promise((resolve, reject) => {
    scrypt(normal, salt, hashBytes, { ...cost, maxmem: 64 * 1024 * 1024 }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}
