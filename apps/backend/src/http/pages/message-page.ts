import { html, visible } from './html.ts';
import type { Page } from './layout.ts';

/** A page that says one thing: done, or what went wrong and what to do next. */
export function messagePage(input: {
  readonly title: string;
  readonly text: string;
  readonly next: string | null;
}): Page {
  return {
    title: input.title,
    card: html`<h1>${visible(input.title)}</h1>
<p>${visible(input.text, 400)}</p>
${input.next === null ? null : html`<p class="soft">${visible(input.next, 400)}</p>`}`,
  };
}

/** A terminal's login was answered with neither of the two buttons. */
export const undecidedPage = messagePage({
  title: 'That did not work',
  text: 'Neither approve nor deny was chosen.',
  next: 'Go back and choose one.',
});

/** The person at the browser is suspended, or no member any more. */
export const disabledPage = messagePage({
  title: 'That did not work',
  text: 'This account may not log in.',
  next: 'Ask an administrator.',
});
