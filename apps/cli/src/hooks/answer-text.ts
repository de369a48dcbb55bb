import type { Decision } from '@kontext/policy';

/** What the agent is told where a call is denied. */
export const denyText = (why: string, rule: string | null): string =>
  `kontext: denied${rule === null ? '' : ` by rule ${rule}`}: ${oneLine(why)}`;

/** What the agent shows its user where it asks. */
export const askText = ({ reason, rule }: Decision): string =>
  `kontext: approval needed${rule === null ? '' : ` by rule ${rule}`}: ${oneLine(reason)}`;

/** Reasons come from policy texts; an agent shows them to its user. */
const oneLine = (text: string): string => text.slice(0, 1000).replaceAll(/\p{Cc}+/gu, ' ');
