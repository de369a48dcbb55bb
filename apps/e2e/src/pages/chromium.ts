import { type Browser, chromium, type Page } from 'playwright-core';

/** A page of the real browser, with everything that went wrong or out on it. */
export interface WatchedPage {
  readonly page: Page;
  /** Errors and warnings of its console, CSP violations among them. */
  readonly complaints: readonly string[];
  /** Origins it asked for anything. */
  readonly origins: ReadonlySet<string>;
}

/** Starts Debian's Chromium, headless, without a word to the outside. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ],
  });
}

/** Opens a blank page that is watched from its first request on. */
export async function openWatchedPage(browser: Browser): Promise<WatchedPage> {
  const page = await browser.newPage();
  const complaints: string[] = [];
  const origins = new Set<string>();
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => origins.add(new URL(request.url()).origin));
  return { page, complaints, origins };
}
