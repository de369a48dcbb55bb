import { expect, it } from 'vitest';
import { type AuditStage, type FoundEvent, searchEvents } from './audit-stage.ts';

/** Counts of what a search finds, and what stands behind a call. */
export function tellLineageStory(stage: () => AuditStage): void {
  const search = (query: readonly string[]) => searchEvents(stage(), query);

  it('counts what it finds', async () => {
    const decided = await search(['kind:tool_call.decided']);
    const facets = async () => {
      const [{ facets: found } = { facets: [] }] = await stage().json<Facets>([
        ...['audit', 'facets', 'kind:tool_call.decided', '--field', 'tool', '--field', 'decision'],
      ]);
      return Object.fromEntries(
        found.map(({ field, values }) => [field, values.map(({ value, count }) => [value, count])]),
      );
    };
    const count = (pick: (event: FoundEvent) => string) => {
      const counts = new Map<string, number>();
      for (const event of decided) counts.set(pick(event), (counts.get(pick(event)) ?? 0) + 1);
      return [...counts].sort();
    };

    // Counting follows the signed log, a few seconds behind.
    await expect.poll(async () => (await facets()).tool?.toSorted()).toEqual(count(({ tool }) => tool));
    expect((await facets()).decision?.toSorted()).toEqual(count(({ decision }) => decision));
    const [{ buckets } = { buckets: [] }] = await stage().json<Histogram>([
      ...['audit', 'histogram', 'kind:tool_call.decided', 'since:24h'],
    ]);
    expect(buckets.reduce((sum, bucket) => sum + bucket.count, 0)).toBe(decided.length);
    expect(buckets.reduce((sum, bucket) => sum + bucket.denied, 0)).toBe(1);
  });

  it('shows the consent behind a call, its lease and its approval as a tree', async () => {
    const { session, approval } = stage();
    const [touched] = await search(['kind:tool_call.decided', 'touch', `session:${session.sessionId}`]);
    const lineage = async (id: string) => {
      const [{ nodes } = { nodes: [] }] = await stage().json<Lineage>(['audit', 'lineage', id]);
      const above = (node: LineageNode | undefined): string[] =>
        node === undefined
          ? []
          : [node.type, ...above(nodes.find(({ id: other }) => other === node.parentId))];
      return { nodes, above: (id: string) => above(nodes.find((node) => node.id === id)) };
    };
    const ofCall = await lineage(touched?.id ?? '');
    const lease = ofCall.nodes.find(({ type }) => type === 'lease')?.id ?? '';
    const ofLease = await lineage(lease);
    const ofApproval = await lineage(approval);

    expect(ofCall.above(touched?.id ?? '')).toEqual([
      ...['event', 'approval', 'session', 'lease', 'connection', 'consent'],
    ]);
    expect(ofCall.nodes.map(({ id }) => id)).toContain(approval);
    expect(ofLease.above(lease)).toEqual(['lease', 'connection', 'consent']);
    expect(ofLease.nodes.map(({ id }) => id)).toContain(session.sessionId);
    expect(ofApproval.above(approval)).toContain('session');
    expect(ofApproval.nodes.find(({ asked }) => asked)?.id).toBe(approval);
    const tree = await stage().ok(['audit', 'lineage', lease]);
    expect(tree).toMatch(/consent .* consented to stripe/);
    expect(tree).toMatch(/> .*lease .*lea_/);
  });
}

interface Facets {
  readonly facets: readonly {
    readonly field: string;
    readonly values: readonly { readonly value: string; readonly count: number }[];
  }[];
}

interface Histogram {
  readonly buckets: readonly { readonly count: number; readonly denied: number }[];
}

interface LineageNode {
  readonly id: string;
  readonly parentId: string;
  readonly type: string;
  readonly asked: boolean;
}

interface Lineage {
  readonly nodes: readonly LineageNode[];
}
