import { html, visible } from './html.ts';
import type { Page } from './layout.ts';

/** Asks for the code the terminal shows. `userCode` prefills it; nothing is ever sent without a press of the button. */
export function codePage(input: {
  readonly csrf: string;
  readonly userCode: string;
  readonly error: string | null;
}): Page {
  return {
    title: 'Connect a terminal',
    card: html`<h1>Connect a terminal</h1>
<p>Enter the code that your terminal shows. Only continue if you started this.</p>
${input.error === null ? null : html`<p class="alert" role="alert">${input.error}</p>`}
<form method="post" action="/activate">
<input type="hidden" name="csrf" value="${input.csrf}">
<label for="user_code">Code</label>
<input id="user_code" class="spread" type="text" name="user_code" value="${input.userCode}" autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="20" required>
<div class="row"><button class="primary" type="submit">Continue</button></div>
</form>`,
  };
}

/** What the approval page shows; every text but the code comes from outside. */
export interface ApprovalFacts {
  readonly csrf: string;
  /** As the terminal shows it, with dash. */
  readonly userCode: string;
  readonly clientName: string;
  /** From the request's User-Agent: a claim, shown as such. */
  readonly machine: string | null;
  readonly version: string | null;
  readonly address: string;
  readonly ageSeconds: number;
  readonly accountName: string;
  readonly orgName: string;
}

/** Shows who asks for what and lets the person decide (RFC 8628 §5.4, BCP 247). */
export function approvalPage(facts: ApprovalFacts): Page {
  const old = facts.ageSeconds > 300;
  return {
    title: 'Approve this terminal?',
    card: html`<h1>Approve this terminal?</h1>
<p><strong>${visible(facts.clientName)}</strong> wants to log in as <strong>${visible(facts.accountName)}</strong> of <strong>${visible(facts.orgName)}</strong>. Compare the code with the one in your terminal:</p>
<p class="code">${facts.userCode}</p>
<dl>
<dt>Machine</dt><dd>${facts.machine === null ? 'not stated' : visible(facts.machine)}</dd>
<dt>Version</dt><dd>${facts.version === null ? 'not stated' : visible(facts.version)}</dd>
<dt>Address</dt><dd>${visible(facts.address)}</dd>
<dt>Started</dt><dd>${describeAge(facts.ageSeconds)}</dd>
</dl>
${old ? html`<p class="alert" role="alert">This was started more than 5 minutes ago. Deny it if you are not sure.</p>` : null}
<p class="soft">Only continue if you started this. Nobody will ever ask you to approve a login on their behalf.</p>
<form method="post" action="/activate/decision">
<input type="hidden" name="csrf" value="${facts.csrf}">
<input type="hidden" name="user_code" value="${facts.userCode}">
<div class="row">
<button type="submit" name="decision" value="deny">Deny</button>
<button class="primary" type="submit" name="decision" value="approve">Approve</button>
</div>
</form>`,
  };
}

function describeAge(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s ago`;
  return `${Math.floor(seconds / 60)} min ago`;
}
