/** What a login at the browser must be before anybody confirms or approves something with it (RFC 9470). */
import { KontextError } from '@kontext/errors';
import { type BrowserAccount, federatedAcr, passcodeAcr } from './browser-sessions.ts';

/** What a login at the browser must be to confirm (RFC 9470 §4). */
export const browserAcr = 'urn:kontext:acr:browser';
/** How a person can be logged in at our pages; a device login is none of these. */
const strongAcrs: ReadonlySet<string> = new Set([passcodeAcr, federatedAcr]);
/** Seconds such a login may be old. */
export const freshLoginSeconds = 300;

/**
 * RFC 9470: the login must be fresh, and more than what a terminal can get by itself.
 *
 * @throws KontextError `KX_FORBIDDEN` when it is not.
 */
export function checkFresh({ loggedInAtMs, acr }: BrowserAccount, nowMs: number): void {
  const isStrong = strongAcrs.has(acr);
  if (isStrong && nowMs - loggedInAtMs <= freshLoginSeconds * 1000) return;
  throw new KontextError('KX_FORBIDDEN', 'the login at this browser does not suffice', {
    why: isStrong ? 'it is older than 5 minutes' : 'it was not made by a person at a browser',
    hint: 'log in again, and open the link once more',
  });
}
