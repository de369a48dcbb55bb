import type { RuleAnnotations } from './parse-policies.ts';

/**
 * How bad an effect is: deny, then ask, then sensitive. Of two asks the one that is harder to get past is worse, so that
 * the user's own yes never stands for that of somebody else.
 */
export function rankOf({ effect, approver, fourEyes }: RankedEffect): number {
  if (effect === 'deny') return 5;
  if (effect !== 'ask') return 1;
  return fourEyes ? 4 : approver === null ? 2 : 3;
}

interface RankedEffect extends Pick<RuleAnnotations, 'approver' | 'fourEyes'> {
  readonly effect: RuleAnnotations['effect'] | 'allow';
}
