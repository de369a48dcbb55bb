import { KontextError } from '@kontext/errors';

/** Why a session in enforce gets no credentials any more: something was changed, or its agent has called no hook. */
export type WithheldReason = 'tampered' | 'agent_unseen';

/** The refusal, with the reason as `failure_reason`. */
export const withheldBecause = (why: WithheldReason): KontextError =>
  new KontextError('KX_RENEWAL_WITHHELD', 'the session gets no more credentials', {
    why:
      why === 'tampered'
        ? 'its hooks, settings or events were changed, and the policy is enforced'
        : 'its agent has called no hook, and the policy is enforced',
    details: { failure_reason: why },
  });
