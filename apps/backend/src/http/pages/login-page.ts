import { html } from './html.ts';
import type { Page } from './layout.ts';

/** The form that asks who sits at the browser. `error` is shown above it; the account stays filled in. */
export function loginPage(input: {
  readonly csrf: string;
  readonly returnTo: string;
  readonly account: string;
  readonly error: string | null;
}): Page {
  return {
    title: 'Log in',
    card: html`<h1>Log in</h1>
<p class="soft">This backend runs in local mode. Its account and passcode were printed in its terminal at the first start.</p>
${input.error === null ? null : html`<p class="alert" role="alert">${input.error}</p>`}
<form method="post" action="/login">
<input type="hidden" name="csrf" value="${input.csrf}">
<input type="hidden" name="return_to" value="${input.returnTo}">
<label for="account">Account</label>
<input id="account" type="text" name="account" value="${input.account}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="100" required>
<label for="passcode">Passcode</label>
<input id="passcode" type="password" name="passcode" autocomplete="current-password" maxlength="100" required>
<div class="row"><button class="primary" type="submit">Log in</button></div>
</form>`,
  };
}
