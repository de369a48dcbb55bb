import { html, visible } from './html.ts';
import type { Page } from './layout.ts';

/** What the page before a provider shows; every text comes from outside. */
export interface ConnectFacts {
  readonly csrf: string;
  /** Path the form goes to: the link itself. */
  readonly action: string;
  readonly provider: string;
  readonly host: string;
  readonly connectionName: string;
  readonly shared: boolean;
  readonly scopes: readonly string[];
  /** Those of `scopes` that were allowed before. */
  readonly granted: readonly string[];
}

/** Says where the person is about to be sent, and for what; nothing happens without a press of the button. */
export function connectPage(facts: ConnectFacts): Page {
  const asked = facts.scopes.filter((scope) => !facts.granted.includes(scope));
  const kept = facts.scopes.filter((scope) => facts.granted.includes(scope));
  const added = asked.length === 0 && kept.length > 0 ? 'nothing new' : asked.join(' ');
  const owner = facts.shared ? 'everybody in your organisation' : 'you alone';
  return {
    title: `Connect ${visible(facts.provider)}`,
    card: html`<h1>Connect ${visible(facts.provider)}</h1>
<p>You will be sent to <strong>${visible(facts.host)}</strong> to log in. Your agents can then use what you allow there.</p>
<dl>
<dt>Connection</dt><dd>${visible(facts.connectionName)}</dd>
<dt>Used by</dt><dd>${owner}</dd>
<dt>Access asked for</dt><dd>${visible(added || 'what the provider gives by default', 400)}</dd>
${kept.length === 0 ? html`` : html`<dt>Allowed already</dt><dd>${visible(kept.join(' '), 400)}</dd>`}
</dl>
<p class="soft">Only continue if you started this.</p>
<form method="post" action="${facts.action}">
<input type="hidden" name="csrf" value="${facts.csrf}">
<div class="row"><button class="primary" type="submit" name="step" value="continue">Continue</button></div>
</form>`,
  };
}
