import { type HtmlForm, parseForms } from './html-forms.ts';

/** A page the browser has come to rest on. */
export interface Page {
  /** After all redirects. */
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly html: string;
  readonly forms: readonly HtmlForm[];
}

/** Just enough of a browser: cookies per host and path, redirects, forms. */
export interface Browser {
  open(url: string): Promise<Page>;
  /**
   * Sends a form of the page.
   *
   * @param values Fields to fill or replace, by name, plus the pressed button's name and value.
   */
  submit(page: Page, form: HtmlForm, values?: Readonly<Record<string, string>>): Promise<Page>;
}

interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly host: string;
  readonly path: string;
}

/**
 * Creates a browser without scripts for walking server-rendered pages over real HTTP.
 *
 * @param options `stopAt`: a redirect to a URL that starts with this is not followed; the page then has that URL and status 0.
 */
export function createBrowser(options: { readonly stopAt?: string } = {}): Browser {
  const cookies = new Map<string, Cookie>();

  async function request(url: string, init: RequestInit, hops: number): Promise<Page> {
    if (options.stopAt !== undefined && url.startsWith(options.stopAt)) {
      return { url, status: 0, headers: new Headers(), html: '', forms: [] };
    }
    if (hops > 20) throw new Error(`more than 20 redirects, the last one to ${url}`);
    const headers = new Headers(init.headers);
    headers.set('accept', 'text/html');
    const cookieHeader = cookiesFor(cookies, new URL(url));
    if (cookieHeader !== '') headers.set('cookie', cookieHeader);
    const response = await fetch(url, {
      ...init,
      headers,
      redirect: 'manual',
      signal: AbortSignal.timeout(30_000),
    });
    keepCookies(cookies, new URL(url), response.headers.getSetCookie());
    const location = response.headers.get('location');
    if (location !== null && response.status >= 300 && response.status < 400) {
      await response.arrayBuffer();
      const next = new URL(location, url).href;
      // 307 and 308 repeat the request; the others become GET (RFC 9110 §15.4).
      const repeats = response.status === 307 || response.status === 308;
      return request(next, repeats ? init : {}, hops + 1);
    }
    const html = await response.text();
    return { url, status: response.status, headers: response.headers, html, forms: parseForms(html) };
  }

  return {
    open: (url) => request(url, {}, 0),
    submit: (page, form, values = {}) => {
      const fields = new URLSearchParams();
      for (const field of form.fields) fields.append(field.name, field.value);
      for (const [name, value] of Object.entries(values)) fields.set(name, value);
      const target = new URL(form.action === '' ? page.url : form.action, page.url);
      if (form.method === 'get') {
        target.search = fields.toString();
        return request(target.href, {}, 0);
      }
      const headers = { origin: new URL(page.url).origin, referer: page.url };
      return request(target.href, { method: 'POST', body: fields, headers }, 0);
    },
  };
}

function cookiesFor(cookies: ReadonlyMap<string, Cookie>, url: URL): string {
  return [...cookies.values()]
    .filter((cookie) => cookie.host === url.hostname && pathMatches(url.pathname, cookie.path))
    .map((cookie) => `${cookie.name}=${cookie.value}`)
    .join('; ');
}

/** RFC 6265 §5.1.4. */
function pathMatches(path: string, cookiePath: string): boolean {
  if (path === cookiePath) return true;
  return path.startsWith(cookiePath) && (cookiePath.endsWith('/') || path[cookiePath.length] === '/');
}

function keepCookies(cookies: Map<string, Cookie>, url: URL, lines: readonly string[]): void {
  for (const line of lines) {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
    const separator = pair.indexOf('=');
    if (separator < 1) continue;
    const find = (name: string) =>
      attributes.find((part) => part.toLowerCase().startsWith(`${name}=`))?.slice(name.length + 1);
    const path = find('path') ?? '/';
    const cookie = {
      name: pair.slice(0, separator),
      value: pair.slice(separator + 1),
      host: url.hostname,
      path,
    };
    const key = `${cookie.host} ${cookie.path} ${cookie.name}`;
    const expired = find('max-age') === '0' || Date.parse(find('expires') ?? '') < Date.now();
    if (expired) cookies.delete(key);
    else cookies.set(key, cookie);
  }
}
