import { ConfirmationService, ConfirmationState } from '@kontext/protocol';
import type { Confirmations } from '../login/confirmations.ts';
import { callerOf } from './authenticate.ts';
import type { RpcRoutes } from './router.ts';

/** Seconds a client waits before it asks again. */
const intervalSeconds = 2;

const states = {
  pending: ConfirmationState.PENDING,
  confirmed: ConfirmationState.CONFIRMED,
  denied: ConfirmationState.DENIED,
  used: ConfirmationState.USED,
  expired: ConfirmationState.EXPIRED,
} as const;

/** The edge that tells how far a confirmation has come. */
export const confirmationRoutes =
  (confirmations: Pick<Confirmations, 'stateOf'>): RpcRoutes =>
  (router) =>
    router.service(ConfirmationService, {
      getConfirmation: async ({ confirmationId }, context) => ({
        state: states[await confirmations.stateOf(callerOf(context), confirmationId)],
        interval: intervalSeconds,
      }),
    });
