import { basePermitId } from './cedar-schema.ts';

const idShape = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** Most rules of a set. */
export const maxPolicies = 2000;
/** Largest set, bytes of UTF-8. */
export const maxTotalBytes = 1 << 20;

/** Whether a text may name a rule: letters, digits, `.`, `_` and `-`, at most 128, not the engine's own. */
export const isRuleId = (id: string): boolean => idShape.test(id) && id !== basePermitId;
