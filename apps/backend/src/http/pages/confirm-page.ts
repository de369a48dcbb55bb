import { type Html, html, visible } from './html.ts';
import type { Page } from './layout.ts';

/** What the confirmation page shows; every text comes from outside. */
export interface ConfirmFacts {
  readonly csrf: string;
  /** Path the form goes to: the link itself. */
  readonly action: string;
  /** Name of the RPC. */
  readonly method: string;
  /** What is to be confirmed, as it goes on after "Confirm to". */
  readonly summary: string;
  /** What the login that asks stated; null when it stated nothing. */
  readonly machine: string | null;
  readonly address: string;
  readonly ageSeconds: number;
  readonly accountName: string;
  readonly orgName: string;
}

/** Longest sentence; beyond it nothing is asked at all. */
const maxSummaryLength = 8000;

/** Says what is about to be done in a person's name, and lets them decide; nothing happens without a press of a button. */
export function confirmPage(facts: ConfirmFacts): Page {
  return {
    title: 'Confirm this action?',
    card: html`<h1>Confirm this action?</h1>
<p>A terminal logged in as <strong>${visible(facts.accountName)}</strong> of <strong>${visible(facts.orgName)}</strong> wants to</p>
<p class="deed">${visible(facts.summary, maxSummaryLength)}</p>
<dl>
<dt>Machine</dt><dd>${facts.machine === null ? 'not stated' : visible(facts.machine)}</dd>
<dt>Address</dt><dd>${visible(facts.address)}</dd>
<dt>Asked</dt><dd>${describeAge(facts.ageSeconds)}</dd>
<dt>Call</dt><dd>${visible(facts.method)}</dd>
</dl>
${facts.ageSeconds > 300 ? oldAlert : null}
<p class="soft">Only confirm what you started yourself, just now. An agent can ask for this too, in your name.</p>
<form method="post" action="${facts.action}">
<input type="hidden" name="csrf" value="${facts.csrf}">
<div class="row">
<button type="submit" name="decision" value="deny">Deny</button>
<button class="primary" type="submit" name="decision" value="confirm">Confirm</button>
</div>
</form>`,
  };
}

const oldAlert: Html = html`<p class="alert" role="alert">This was asked more than 5 minutes ago. Deny it if you are not sure.</p>`;

function describeAge(seconds: number): string {
  return seconds < 60 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ago`;
}
