import { html, visible } from './html.ts';
import type { Page } from './layout.ts';

/** What the page of a loopback login shows; every text comes from outside. */
export interface TerminalFacts {
  readonly csrf: string;
  /** Path the form goes to: the page itself. */
  readonly action: string;
  readonly clientName: string;
  /** As the terminal states it: a claim. */
  readonly machine: string | null;
  /** Where the browser is, which is where the terminal has to be. */
  readonly address: string;
  /** Host and port the browser is sent back to. */
  readonly target: string;
  readonly accountName: string;
  readonly orgName: string;
}

/** Shows which program of this machine asks for a login. First-party, and still asked: any local process could have started it. */
export function terminalPage(facts: TerminalFacts): Page {
  return {
    title: 'Approve this terminal?',
    card: html`<h1>Approve this terminal?</h1>
<p><strong>${visible(facts.clientName)}</strong> on <strong>${facts.machine === null ? 'this machine' : visible(facts.machine)}</strong> wants to log in as <strong>${visible(facts.accountName)}</strong> of <strong>${visible(facts.orgName)}</strong>.</p>
<dl>
<dt>Machine</dt><dd>${facts.machine === null ? 'not stated' : visible(facts.machine)}</dd>
<dt>Address</dt><dd>${visible(facts.address)}</dd>
<dt>Answer goes to</dt><dd>${visible(facts.target)}, a program on this machine</dd>
</dl>
<p class="soft">Only continue if you started this with <code>kontext login --loopback</code> on this machine just now.</p>
<form method="post" action="${facts.action}">
<input type="hidden" name="csrf" value="${facts.csrf}">
<div class="row">
<button type="submit" name="decision" value="deny">Deny</button>
<button class="primary" type="submit" name="decision" value="approve">Approve</button>
</div>
</form>`,
  };
}
