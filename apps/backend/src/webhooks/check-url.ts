import { isLoopbackUrlHost } from '../providers/public-address.ts';

const maxUrlLength = 2000;

/** What is wrong with the URL of a receiver; null when it has a chance. Addresses are looked at when a message is sent. */
export function findUrlFault(text: string, local: boolean): string | null {
  const url = text.length <= maxUrlLength && URL.canParse(text) ? new URL(text) : null;
  if (url === null) return 'that is no URL, or it is too long';
  const plainLoopback = local && url.protocol === 'http:' && isLoopbackUrlHost(url.hostname);
  if (url.protocol !== 'https:' && !plainLoopback) return 'its URL is not https';
  if (url.username !== '' || url.password !== '') return 'its URL has a user or password';
  return url.hash === '' ? null : 'its URL has a fragment';
}
