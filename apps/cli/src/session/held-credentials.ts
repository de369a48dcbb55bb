/**
 * What a session holds: the newest credential of each placeholder, in memory alone.
 *
 * How long a credential still lives is counted from when it arrived, in seconds the backend named: the clocks of the two
 * machines are never compared. Both of our own are asked, because one stands still while a laptop sleeps and the other jumps
 * when it is set; the one that went further counts.
 */
import type { PlaceholderRef } from '@kontext/env-template';
import type { ResolvedCredential } from './resolve-placeholders.ts';

/** One placeholder with its newest credential. */
export interface HeldCredential {
  readonly placeholder: PlaceholderRef;
  readonly credential: ResolvedCredential;
  /** Milliseconds since it arrived. */
  ageMs(): number;
  /** Milliseconds it may still be used; null: it does not expire. */
  leftMs(): number | null;
}

/** The credentials of a session. */
export interface HeldCredentials {
  list(): readonly HeldCredential[];
  /** By the placeholder's key; undefined when there is none, or it was taken back. */
  get(key: string): HeldCredential | undefined;
  /** Puts a newer one in the place of what is there. */
  put(placeholder: PlaceholderRef, credential: ResolvedCredential): void;
  /** Forgets one that was taken back. */
  drop(key: string): void;
  clear(): void;
}

/** Our clocks, in milliseconds. */
export interface Clocks {
  /** Never goes back. */
  readonly steady: () => number;
  readonly wall: () => number;
}

/** The clocks of this machine. */
export const systemClocks: Clocks = { steady: () => performance.now(), wall: () => Date.now() };

/** Makes the holder. */
export function createHeldCredentials(clocks: Clocks = systemClocks): HeldCredentials {
  const held = new Map<string, HeldCredential>();
  return {
    list: () => [...held.values()],
    get: (key) => held.get(key),
    put(placeholder, credential) {
      const [steady, wall] = [clocks.steady(), clocks.wall()];
      const ageMs = () => Math.max(0, clocks.steady() - steady, clocks.wall() - wall);
      const { expiresInSeconds } = credential;
      const leftMs = () => (expiresInSeconds === null ? null : expiresInSeconds * 1000 - ageMs());
      held.set(placeholder.key, { placeholder, credential, ageMs, leftMs });
    },
    drop: (key) => void held.delete(key),
    clear: () => held.clear(),
  };
}
