import { splitPolicies } from './scan-policies.ts';
import { starterSources } from './starter-sources.ts';
import type { PolicyText } from './tool-call.ts';

/**
 * The policies of the starter packs, in the order of {@link starterSources}: what a new organisation begins with.
 *
 * Split here and not by Cedar, so that whoever imports this package waits for nothing; a test compares the two.
 */
export const starterPolicies: readonly PolicyText[] = /* @__PURE__ */ starterSources.flatMap(({ text }) =>
  splitPolicies(text).map((piece) => ({
    id: /@id\("([^"]+)"\)/.exec(piece.text)?.[1] ?? '',
    text: piece.text,
  })),
);
