/** A piece of markup that is safe to send: made by {@link html} only, so every text in it was escaped. */
export class Html {
  readonly markup: string;
  /** @param markup Text that is markup already; the only way around escaping, used by {@link html} and for constants. */
  constructor(markup: string) {
    this.markup = markup;
  }
}

type Child = Html | string | number | null | readonly Html[];

/** Template tag: escapes every interpolated text; `Html` goes in as it is, `null` as nothing. */
export function html(parts: TemplateStringsArray, ...children: readonly Child[]): Html {
  return new Html(parts.map((part, i) => part + render(children[i] ?? null)).join(''));
}

/**
 * Makes text from outside fit to be shown to a person who decides by it: control, bidi and invisible characters, blanks but the
 * space, and marks piled up on one letter become visible (`\u202e`), length is capped.
 *
 * @param maxLength In UTF-16 units, default 120.
 */
export function visible(text: string, maxLength = 120): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
  return cut.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}|(?<=\p{M}{2})\p{M}/gu,
    (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function render(child: Child): string {
  if (child === null) return '';
  if (child instanceof Html) return child.markup;
  if (typeof child === 'string' || typeof child === 'number') {
    return String(child).replace(/[&<>"']/g, (c) => entities[c] ?? c);
  }
  return child.map((piece) => piece.markup).join('');
}
