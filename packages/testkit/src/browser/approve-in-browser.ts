import { walkPages } from './approve-device.ts';
import type { Page } from './browser.ts';

/** Who decides about a tool call, where, and how. */
export interface CallApproval {
  /** `url` of the approval. */
  readonly url: string;
  readonly account: string;
  readonly passcode: string;
  /** Button that is pressed; default `once`. */
  readonly decision?: 'once' | 'session' | 'hour' | 'deny';
  /** What is written beside it; default what the page has there. */
  readonly reason?: string;
}

/**
 * Decides about a tool call by walking the backend's real pages: login form, then the decision.
 *
 * @returns The page that says so.
 * @throws Error when the walk ends on an error page, or nothing was asked.
 */
export async function approveInBrowser(approval: CallApproval): Promise<Page> {
  const { url, account, passcode, decision = 'once', reason } = approval;
  const fields = { account, passcode, ...(reason === undefined ? {} : { reason }) };
  const page = await walkPages(url, { fields, press: [decision] });
  const said = decision === 'deny' ? /<h1>Denied/ : /<h1>Allowed/;
  if (page.status >= 400 || !said.test(page.html)) {
    throw new Error(`deciding ended with ${page.status} at ${page.url}: ${page.html.slice(0, 2000)}`);
  }
  return page;
}
