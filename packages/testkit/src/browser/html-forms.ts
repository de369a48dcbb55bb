/** A submit button of a form. */
export interface FormButton {
  readonly name: string;
  readonly value: string;
  /** The text people see. */
  readonly label: string;
}

/** One form of a page, as a browser would send it. */
export interface HtmlForm {
  /** As written; empty means the page's own URL. */
  readonly action: string;
  readonly method: 'get' | 'post';
  /** Names and values of everything but buttons, hidden fields included, in document order. */
  readonly fields: readonly { readonly name: string; readonly value: string; readonly type: string }[];
  readonly buttons: readonly FormButton[];
}

/**
 * Reads the forms of a plain server-rendered page: input, button and select elements with quoted or bare attributes.
 *
 * Not a browser: scripts, `form=` attributes and nested documents are ignored.
 */
export function parseForms(html: string): readonly HtmlForm[] {
  const withoutComments = html.replace(/<!--[\s\S]*?-->/g, '');
  return [...withoutComments.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map((match) => {
    const attributes = parseAttributes(match[1] ?? '');
    const body = match[2] ?? '';
    const inputs = [...body.matchAll(/<input\b([^>]*)>/gi)].map((input) => parseAttributes(input[1] ?? ''));
    return {
      action: attributes.get('action') ?? '',
      method: attributes.get('method')?.toLowerCase() === 'post' ? 'post' : 'get',
      fields: [...inputs.flatMap(toField), ...parseSelects(body)],
      buttons: [...parseButtons(body), ...inputs.flatMap(toButton)],
    };
  });
}

function toField(input: ReadonlyMap<string, string>): HtmlForm['fields'] {
  const type = input.get('type')?.toLowerCase() ?? 'text';
  const name = input.get('name') ?? '';
  if (name === '' || ['submit', 'button', 'image', 'reset'].includes(type)) return [];
  if (['checkbox', 'radio'].includes(type) && !input.has('checked')) return [];
  return [{ name, type, value: input.get('value') ?? (type === 'checkbox' ? 'on' : '') }];
}

function toButton(input: ReadonlyMap<string, string>): readonly FormButton[] {
  if (input.get('type')?.toLowerCase() !== 'submit') return [];
  const value = input.get('value') ?? '';
  return [{ name: input.get('name') ?? '', value, label: value }];
}

function parseButtons(body: string): readonly FormButton[] {
  return [...body.matchAll(/<button\b([^>]*)>([\s\S]*?)<\/button>/gi)].flatMap((match) => {
    const attributes = parseAttributes(match[1] ?? '');
    if ((attributes.get('type')?.toLowerCase() ?? 'submit') !== 'submit') return [];
    const label = decodeEntities((match[2] ?? '').replace(/<[^>]*>/g, '')).trim();
    return [{ name: attributes.get('name') ?? '', value: attributes.get('value') ?? '', label }];
  });
}

function parseSelects(body: string): HtmlForm['fields'] {
  return [...body.matchAll(/<select\b([^>]*)>([\s\S]*?)<\/select>/gi)].flatMap((match) => {
    const name = parseAttributes(match[1] ?? '').get('name') ?? '';
    const options = [...(match[2] ?? '').matchAll(/<option\b([^>]*)>/gi)].map((option) =>
      parseAttributes(option[1] ?? ''),
    );
    const chosen = options.find((option) => option.has('selected')) ?? options[0];
    return name === '' || chosen === undefined
      ? []
      : [{ name, type: 'select', value: chosen.get('value') ?? '' }];
  });
}

function parseAttributes(text: string): ReadonlyMap<string, string> {
  const pattern = /([a-zA-Z][\w:-]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g;
  return new Map(
    [...text.matchAll(pattern)].map((match) => {
      return [(match[1] ?? '').toLowerCase(), decodeEntities(match[2] ?? match[3] ?? match[4] ?? '')];
    }),
  );
}

const namedEntities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
};

function decodeEntities(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|([a-z]+));/gi, (whole, hex, decimal, name) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    if (decimal !== undefined) return String.fromCodePoint(Number(decimal));
    return namedEntities[String(name).toLowerCase()] ?? whole;
  });
}
