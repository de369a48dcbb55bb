import { KontextError } from '@kontext/errors';

/**
 * Seconds of a duration such as `90s`, `5m`, `8h`, `7d`; a bare number counts seconds.
 *
 * @throws KontextError `KX_USAGE` naming the flag.
 */
export function parseDuration(text: string, flag: string): number {
  const [, digits, unit = 's'] = /^(\d{1,6})([smhd])?$/.exec(text) ?? [];
  const seconds = Number(digits) * { s: 1, m: 60, h: 3600, d: 86_400 }[unit as 's' | 'm' | 'h' | 'd'];
  if (seconds >= 1) return seconds;
  throw new KontextError('KX_USAGE', `${flag} is no duration`, { hint: 'write it as 90s, 5m, 8h or 7d' });
}
