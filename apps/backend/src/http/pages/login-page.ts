import type { ProviderChoice } from '../../login/federation/federation.ts';
import { type Html, html, visible } from './html.ts';
import type { Page } from './layout.ts';

/** What every form of a login carries along. */
export interface LoginFields {
  readonly csrf: string;
  readonly returnTo: string;
  /** Longest the login may be ago, as text; empty when that does not matter. */
  readonly maxAge: string;
}

/** The ways to log in that the page offers. `error` is shown above the form; the account stays filled in. */
export interface LoginPageInput extends LoginFields {
  /** Local accounts with passcodes: local mode alone has them. */
  readonly passcodes: boolean;
  /** The field that finds an organisation's identity provider. */
  readonly organisations: boolean;
  /** The one identity provider there is: then nothing has to be asked. */
  readonly only: ProviderChoice | null;
  readonly account: string;
  readonly organisation: string;
  readonly error: string | null;
}

/** The page that asks who sits at the browser. */
export function loginPage(input: LoginPageInput): Page {
  return {
    title: 'Log in',
    card: html`<h1>Log in</h1>
${input.error === null ? null : html`<p class="alert" role="alert">${input.error}</p>`}
${input.passcodes ? passcodeForm(input) : null}
${input.only !== null ? providerForm(input, input.only) : input.organisations ? organisationForm(input) : null}`,
  };
}

/** Which of several identity providers? */
export function chooseProviderPage(
  input: LoginFields & { readonly providers: readonly ProviderChoice[] },
): Page {
  return {
    title: 'Log in',
    card: html`<h1>Log in</h1>
<p class="soft">There is more than one way to log in. Which one is yours?</p>
${input.providers.map((provider) => providerForm(input, provider))}`,
  };
}

/** What an invitation is for. Nothing happens before a button is pressed. */
export function invitationPage(input: {
  readonly csrf: string;
  readonly action: string;
  readonly orgName: string;
  readonly email: string;
  readonly role: string;
  readonly providers: readonly ProviderChoice[];
}): Page {
  const { csrf, action, orgName, email, role } = input;
  return {
    title: 'Invitation',
    card: html`<h1>Join ${visible(orgName)}</h1>
<p>You are invited to use kontext with ${visible(orgName)}.</p>
<dl><dt>For</dt><dd>${visible(email)}</dd><dt>Role</dt><dd>${role}</dd></dl>
<p class="soft">Log in with that address. The invitation works once.</p>
${input.providers.map(
  (provider) => html`<form method="post" action="${action}">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="provider" value="${provider.id}">
<div class="row"><button class="primary" type="submit">Continue with ${visible(provider.name)}</button></div>
</form>`,
)}`,
  };
}

function passcodeForm(input: LoginPageInput): Html {
  return html`<p class="soft">This backend runs in local mode. Its account and passcode were printed in its terminal at the first start.</p>
<form method="post" action="/login">
${hidden(input)}
<label for="account">Account</label>
<input id="account" type="text" name="account" value="${input.account}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="100" required>
<label for="passcode">Passcode</label>
<input id="passcode" type="password" name="passcode" autocomplete="current-password" maxlength="100" required>
<div class="row"><button class="primary" type="submit">Log in</button></div>
</form>`;
}

function organisationForm(input: LoginPageInput): Html {
  return html`<form method="post" action="/login/organisation">
${hidden(input)}
<label for="organisation">Work e-mail or organisation</label>
<input id="organisation" type="text" name="organisation" value="${input.organisation}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="254" required>
<div class="row"><button class="primary" type="submit">Continue</button></div>
</form>`;
}

function providerForm(input: LoginFields, { id, name, orgName }: ProviderChoice): Html {
  return html`<form method="post" action="/login/provider">
${hidden(input)}
<input type="hidden" name="provider" value="${id}">
<p class="soft">${visible(orgName)}</p>
<div class="row"><button class="primary" type="submit">Continue with ${visible(name)}</button></div>
</form>`;
}

const hidden = ({
  csrf,
  returnTo,
  maxAge,
}: LoginFields): Html => html`<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="return_to" value="${returnTo}">
<input type="hidden" name="max_age" value="${maxAge}">`;
