import { expect } from 'vitest';
import { findUndocumented } from '../find-undocumented.ts';
import { type AuditStage, type FoundEvent, searchEvents } from './audit-stage.ts';

/** An event, taken apart. */
export interface Told {
  readonly header: {
    readonly kind: string;
    readonly session: string | null;
    readonly user: string | null;
    readonly stream: string;
    readonly lineage?: { readonly leases?: readonly string[]; readonly approval?: string } | null;
  };
  readonly facts: Readonly<Record<string, unknown>>;
}

/**
 * Waits until the log holds each of some kinds, of which some may end in `*`; all of them have to be as documented.
 *
 * @returns Gives the events of one of the kinds, newest first.
 */
export async function readTold(
  stage: AuditStage,
  ...kinds: readonly string[]
): Promise<(kind: string) => readonly Told[]> {
  let found: FoundEvent[] = [];
  const look = async (): Promise<string[]> => {
    found = await searchEvents(
      stage,
      kinds.map((kind) => `kind:${kind}`),
    );
    return found.map(({ kind }) => kind);
  };
  const named = kinds.filter((kind) => !kind.endsWith('*'));
  await expect.poll(look).toEqual(expect.arrayContaining(named));
  expect(findUndocumented(found)).toEqual([]);
  const told = found.map(
    ({ header, payload }): Told => ({ header: JSON.parse(header), facts: JSON.parse(payload ?? '{}') }),
  );
  return (kind) => told.filter(({ header }) => header.kind === kind);
}

/** There is one event, with this in its header and exactly these facts. */
export function expectOne(events: readonly Told[], header: object, facts: object): void {
  expect(events).toEqual([{ header: expect.objectContaining(header), facts }]);
}

/** Ids of the two people of the stage. */
export async function findPeople(stage: AuditStage): Promise<Readonly<Record<'owner' | 'mia', string>>> {
  const idOf = async (id: string) => (await searchEvents(stage, [`session:${id}`]))[0]?.user ?? '';
  return { owner: await idOf(stage.session.sessionId), mia: await idOf(stage.memberSession) };
}
