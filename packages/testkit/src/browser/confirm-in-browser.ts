import { walkPages } from './approve-device.ts';
import type { Page } from './browser.ts';

/** Who confirms an action, and where. */
export interface Confirmation {
  /** `confirm_uri` of the refusal. */
  readonly url: string;
  readonly account: string;
  readonly passcode: string;
  /** `deny` presses the other button; default `confirm`. */
  readonly decision?: 'confirm' | 'deny';
}

/**
 * Confirms (or denies) an action by walking the backend's real pages: login form, then the decision.
 *
 * @returns The page that says so.
 * @throws Error when the walk ends on an error page, or nothing was asked.
 */
export async function confirmInBrowser(confirmation: Confirmation): Promise<Page> {
  const { url, account, passcode, decision = 'confirm' } = confirmation;
  const page = await walkPages(url, { fields: { account, passcode }, press: [decision] });
  const said = decision === 'confirm' ? /<h1>Confirmed/ : /<h1>Denied/;
  if (page.status >= 400 || !said.test(page.html)) {
    throw new Error(`the confirmation ended with ${page.status} at ${page.url}: ${page.html.slice(0, 2000)}`);
  }
  return page;
}
