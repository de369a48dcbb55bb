/**
 * How many watches may be open: each is a stream that lasts for hours and reads from the database every 400 ms.
 *
 * Counted in the memory of each replica. A watch gives its place back when it ends, however it ends.
 */
import { KontextError } from '@kontext/errors';
import type { Caller } from '../caller.ts';

/** Most watches that are open at a time, on one replica. */
export interface WatchLimits {
  readonly perUser: number;
  readonly perOrganisation: number;
  readonly perProcess: number;
}

/** The limits of the backend. */
const defaultWatchLimits: WatchLimits = { perUser: 20, perOrganisation: 200, perProcess: 500 };

/** The places of a process. */
export interface WatchSlots {
  /**
   * Takes a place.
   *
   * @returns Gives it back; call it once.
   * @throws KontextError `KX_WATCH_LIMIT` when none is left.
   */
  take(caller: Pick<Caller, 'userId' | 'orgId'>): () => void;
}

/** Creates the places, all of them free. */
export function createWatchSlots(limits: WatchLimits = defaultWatchLimits): WatchSlots {
  const taken = new Map<string, number>();
  const count = (key: string): number => taken.get(key) ?? 0;
  const add = (key: string, by: 1 | -1): void => {
    const next = count(key) + by;
    if (next === 0) taken.delete(key);
    else taken.set(key, next);
  };
  return {
    take({ userId, orgId }) {
      const places = [
        { key: userId, most: limits.perUser, whose: 'of one person' },
        { key: orgId, most: limits.perOrganisation, whose: 'of one organisation' },
        { key: '', most: limits.perProcess, whose: 'of all organisations' },
      ];
      const full = places.find(({ key, most }) => count(key) >= most);
      if (full !== undefined) {
        const message = `${full.most} watches ${full.whose} are open on this replica, and no more may be`;
        throw new KontextError('KX_WATCH_LIMIT', message);
      }
      for (const { key } of places) add(key, 1);
      return () => {
        for (const { key } of places) add(key, -1);
      };
    },
  };
}
