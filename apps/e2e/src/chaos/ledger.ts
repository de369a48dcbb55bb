import { parseHeader } from '@kontext/audit';

/** What a scenario ends with. */
export interface Counts {
  readonly acknowledged: number;
  /** Events of the whole store, those of the backend included. */
  readonly stored: number;
  /** Acknowledged and not there, or there with another chain value. */
  readonly lost: number;
  /** Stored at two places, or twice at one. */
  readonly doubled: number;
  readonly forgedRefused: number;
}

/** An event as it can be compared: where it is, and what it says with everything before it. */
export interface PlacedEvent {
  readonly stream: string;
  readonly seq: number;
  /** Base64. */
  readonly chain: string;
}

/** An event that was read back. */
export interface ReadEvent extends PlacedEvent {
  readonly header: string;
}

/** What senders were told; the backend's own word is not asked. */
export interface Ledger {
  readonly acknowledged: number;
  /** An answer said that these are stored. */
  acknowledge(events: readonly PlacedEvent[]): void;
  /** A forged batch was sent and refused. */
  refuse(): void;
  /** Compares with what is stored. */
  compare(stored: readonly ReadEvent[]): Counts;
}

/** Makes an empty ledger. */
export function createLedger(): Ledger {
  const promised = new Map<string, string>();
  let forgedRefused = 0;
  const placeOf = ({ stream, seq }: PlacedEvent): string => `${stream} ${seq}`;
  return {
    get acknowledged() {
      return promised.size;
    },
    acknowledge(events) {
      for (const event of events) promised.set(placeOf(event), event.chain);
    },
    refuse() {
      forgedRefused += 1;
    },
    compare(stored) {
      const places = new Map(stored.map((event) => [placeOf(event), event.chain]));
      const ids = new Set(stored.map(({ header }) => parseHeader(header).id));
      const lost = [...promised].filter(([place, chain]) => places.get(place) !== chain).length;
      const doubled = Math.max(stored.length - places.size, stored.length - ids.size);
      return { acknowledged: promised.size, stored: stored.length, lost, doubled, forgedRefused };
    },
  };
}
