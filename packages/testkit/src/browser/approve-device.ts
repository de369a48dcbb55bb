import { createBrowser, type Page } from './browser.ts';
import type { FormButton, HtmlForm } from './html-forms.ts';

/** What the person at the browser knows and wants. */
export interface WalkOptions {
  /** Values for fields, by name; hidden fields keep what the page gave them unless named here. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Wanted button values, the first match is pressed; default `approve`, `continue`, `yes`, `confirm`. */
  readonly press?: readonly string[];
  /** A redirect to a URL that starts with this is not followed and ends the walk. */
  readonly stopAt?: string;
  /** Called with every page on the way. */
  readonly onPage?: (page: Page) => void;
}

/**
 * Walks server-rendered pages like a patient person: fills the fields it knows, presses the friendly button, goes on
 * until a page asks nothing more (no form that posts), answers an error, or repeats itself.
 *
 * @returns The last page.
 * @throws Error when it is still walking after 12 pages.
 */
export async function walkPages(url: string, options: WalkOptions = {}): Promise<Page> {
  const browser = createBrowser(options.stopAt === undefined ? {} : { stopAt: options.stopAt });
  let page = await browser.open(url);
  for (let step = 0; step < 12; step += 1) {
    options.onPage?.(page);
    const form = page.status >= 400 ? undefined : chooseForm(page.forms, options);
    if (form === undefined) return page;
    const button = chooseButton(form.buttons, options.press);
    const pressed = button === undefined || button.name === '' ? {} : { [button.name]: button.value };
    page = await browser.submit(page, form, { ...knownFields(form, options.fields ?? {}), ...pressed });
  }
  throw new Error(`still being asked after 12 pages, now at ${page.url}`);
}

/** Who approves a device login, and where. */
export interface DeviceApproval {
  /** `verification_uri_complete` of the device authorization response (RFC 8628 §3.2). */
  readonly verificationUriComplete: string;
  readonly account: string;
  readonly passcode: string;
  /** `deny` presses the other button; default `approve`. */
  readonly decision?: 'approve' | 'deny';
}

/**
 * Approves (or denies) a device login by walking the backend's real pages: code, login form, decision.
 *
 * @returns The page that says so.
 * @throws Error with the page's text when the walk ends on an error page.
 */
export async function approveDevice(approval: DeviceApproval): Promise<Page> {
  const { account, passcode, decision = 'approve' } = approval;
  const page = await walkPages(approval.verificationUriComplete, {
    fields: { account, passcode },
    press: [decision, 'continue', 'yes', 'confirm'],
  });
  if (page.status >= 400)
    throw new Error(`device approval ended with ${page.status} at ${page.url}: ${textOf(page)}`);
  return page;
}

/** Forms that only search or log out are not part of the way: a wanted button decides, else the first form that posts. */
function chooseForm(forms: readonly HtmlForm[], options: WalkOptions): HtmlForm | undefined {
  const posts = forms.filter((form) => form.method === 'post');
  return posts.find((form) => wantedButton(form.buttons, options.press) !== undefined) ?? posts[0];
}

function chooseButton(
  buttons: readonly FormButton[],
  press: readonly string[] | undefined,
): FormButton | undefined {
  return wantedButton(buttons, press) ?? buttons[0];
}

function wantedButton(
  buttons: readonly FormButton[],
  press: readonly string[] = ['approve', 'continue', 'yes', 'confirm'],
): FormButton | undefined {
  const says = (button: FormButton, word: string) =>
    button.value.toLowerCase() === word || button.label.toLowerCase().startsWith(word);
  for (const word of press) {
    const found = buttons.find((button) => says(button, word));
    if (found !== undefined) return found;
  }
  return undefined;
}

function knownFields(form: HtmlForm, known: Readonly<Record<string, string>>): Record<string, string> {
  const names = new Set(form.fields.map((field) => field.name));
  return Object.fromEntries(Object.entries(known).filter(([name]) => names.has(name)));
}

/** The words of a page, for messages. */
function textOf(page: Page): string {
  const body = page.html.replace(/<(style|head)[\s\S]*?<\/\1>/gi, '').replace(/<[^>]*>/g, ' ');
  return body.replace(/\s+/g, ' ').trim().slice(0, 300);
}
