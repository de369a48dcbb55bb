import { KontextError } from '@kontext/errors';

/**
 * A 64-bit integer of the wire as a number.
 *
 * @throws KontextError `KX_REQUEST_INVALID` when it is beyond what a number holds exactly.
 */
export function toSafeNumber(field: string, value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new KontextError('KX_REQUEST_INVALID', `the field ${field} is too large`);
}
