import { type Html, html, visible } from './html.ts';
import type { Page } from './layout.ts';

/** An earlier decision, as a line of the page. */
export interface EarlierDecision {
  readonly state: string;
  readonly lifetime: string | null;
  readonly deciderName: string;
  readonly reason: string;
  readonly ageSeconds: number;
}

/** What the page of a question shows; every text comes from outside, most of it from an agent. */
export interface ApprovalFacts {
  readonly csrf: string;
  /** Path the form goes to. */
  readonly action: string;
  readonly agent: string;
  readonly userName: string;
  readonly machine: string;
  readonly session: string;
  readonly tool: string;
  /** What is to run, as text; lines stay lines. */
  readonly call: string;
  /** Everything else that is known about the call: name and value. */
  readonly about: readonly (readonly [string, string])[];
  /** The hook server could not send all of the call. */
  readonly clipped: boolean;
  /** What kind of call it is; null when nobody can say. */
  readonly shape: string | null;
  readonly part: string;
  readonly rule: string;
  readonly policyVersion: number;
  readonly reason: string;
  readonly approver: string | null;
  readonly fourEyes: boolean;
  readonly ageSeconds: number;
  readonly leftSeconds: number;
  readonly before: readonly EarlierDecision[];
  /** Which button the link preselected; null for none. */
  readonly preselected: string | null;
  readonly givenReason: string;
  readonly viewerName: string;
  readonly orgName: string;
}

/** Longest call that is shown, in UTF-16 units; of a longer one the beginning, and the page says so. */
const maxCallLength = 16_000;
const maxAboutLength = 400;

/** Says what an agent wants to do, and lets a person decide; nothing happens without a press of a button. */
export function approvalPage(facts: ApprovalFacts): Page {
  const shortened = facts.clipped || facts.call.length > maxCallLength;
  return {
    title: 'Allow this call?',
    wide: true,
    card: html`<h1>Allow this call?</h1>
<p>Agent <strong>${visible(facts.agent)}</strong> of <strong>${visible(facts.userName)}</strong> wants to run <strong>${visible(facts.tool)}</strong>:</p>
<pre class="call" tabindex="0" aria-label="The call">${visibleLines(facts.call, maxCallLength)}</pre>
${shortened ? shortenedAlert : null}
<dl>
<dt>What is asked about</dt><dd>${visible(facts.part, maxAboutLength)}</dd>
<dt>Why</dt><dd>${visible(facts.reason, 600)}</dd>
<dt>Rule</dt><dd>${visible(facts.rule, 256)}, policy version ${facts.policyVersion}</dd>
${facts.about.map(
  ([name, value]) => html`<dt>${name}</dt><dd>${visible(value, maxAboutLength)}</dd>
`,
)}<dt>Machine</dt><dd>${visible(facts.machine, 255)}</dd>
<dt>Session</dt><dd>${visible(facts.session)}</dd>
<dt>Asked</dt><dd>${describeAge(facts.ageSeconds)}, open for ${Math.max(1, Math.ceil(facts.leftSeconds / 60))} min more</dd>
<dt>Who decides</dt><dd>${whoDecides(facts)}</dd>
</dl>
${facts.before.length === 0 ? null : earlier(facts.before)}
<p class="soft">You are <strong>${visible(facts.viewerName)}</strong> of ${visible(facts.orgName)}. What stands in the box comes from the agent: judge it by what it does.</p>
<form method="post" action="${facts.action}">
<input type="hidden" name="csrf" value="${facts.csrf}">
<label for="reason">Reason (the agent reads it when you deny)</label>
<input type="text" id="reason" name="reason" maxlength="500" autocomplete="off" value="${visible(facts.givenReason, 500)}">
<div class="choices">
${choicesFor(facts.shape).map(
  ({
    value,
    label,
    covers,
  }) => html`<p><button type="submit" name="decision" value="${value}"${value === facts.preselected ? primary : null}>${label}</button> <span class="soft">${covers}</span></p>
`,
)}</div>
</form>`,
  };
}

/** Denying comes first: it is what the Enter key presses. */
const choicesFor = (shape: string | null): readonly { value: string; label: string; covers: Html }[] => [
  { value: 'deny', label: 'Deny', covers: html`The call does not run, and the agent is told why.` },
  { value: 'once', label: 'Allow once', covers: html`This very call, one time, within 15 minutes.` },
  {
    value: 'hour',
    label: 'Allow for 1 hour',
    covers: html`This very call with these arguments, as often as the agent repeats it in this session.`,
  },
  {
    value: 'session',
    label: 'Allow for this session',
    covers: html`Every call ${shape === null ? 'of the same kind' : html`like <strong>${visible(shape, 256)}</strong>`} that this rule asks about, also with other arguments, until the session ends.`,
  },
];

const primary: Html = html` class="primary"`;

const shortenedAlert: Html = html`<p class="alert" role="alert">Shortened: not all of the call is shown. Deny it if you are not sure.</p>`;

const earlier = (
  before: readonly EarlierDecision[],
): Html => html`<h2>Decided before about calls of this kind in this session</h2>
<ul>
${before.map(
  ({
    state,
    lifetime,
    deciderName,
    reason,
    ageSeconds,
  }) => html`<li>${state === 'denied' ? 'Denied' : 'Allowed'}${lifetime === null ? '' : ` (${lifetime})`} by ${visible(deciderName)}, ${describeAge(ageSeconds)}${reason === '' ? '' : `: ${visible(reason, 500)}`}</li>
`,
)}</ul>`;

function whoDecides({ approver, fourEyes, userName }: ApprovalFacts): string {
  const other = `somebody else than ${visible(userName)}`;
  if (approver === null) return fourEyes ? other : visible(userName);
  return `${visible(approver)}${fourEyes ? `, ${other}` : ''}`;
}

/** Lines of a text, each with its invisible characters made visible. */
function visibleLines(text: string, maxLength: number): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
  return cut
    .split('\n')
    .map((line) => visible(line, maxLength + 1))
    .join('\n');
}

function describeAge(seconds: number): string {
  return seconds < 60 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ago`;
}
