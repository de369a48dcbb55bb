/**
 * What is recognised as a secret without knowing it. Our own rules, written from the public documentation of each
 * format; no rule judges by randomness alone, so that commit hashes, UUIDs, lock files and images survive.
 *
 * | rule | redacted | survives |
 * |---|---|---|
 * | `github-token` | `ghp_ gho_ ghu_ ghs_ ghr_ github_pat_` and 20 or more characters | names of code after the prefix |
 * | `gitlab-token` | `glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- glsoat- gloas- glffct- glwt-` | |
 * | `stripe-key` | `sk_ rk_` with `live`, `test` or `org` | publishable keys, `pk_` |
 * | `webhook-secret` | `whsec_` (Stripe, Standard Webhooks) | |
 * | `linear-token` | `lin_api_ lin_oauth_ lin_wh_` | |
 * | `slack-token`, `slack-webhook` | `xox?- xapp- xwfp-`; the path of `hooks.slack.com/services/…` | other pages of Slack |
 * | `webhook` | the secret in addresses of incoming webhooks of Discord, Teams, Zapier | channels |
 * | `google-key` | `AIza`, `ya29.`, `GOCSPX-`, refresh tokens `1//0` | |
 * | `aws-key` | `AKIA ASIA` and 16 capitals, and the 40 characters of a secret key near it | commit hashes near it |
 * | `npm-token` | `npm_` and 30 or more letters and digits | `npm_config_…` |
 * | `openai-key`, `anthropic-key` | `sk-…`, `sk-proj-…`; `sk-ant-…` | CSS classes, `task-…` |
 * | `huggingface-token` | `hf_ api_org_` | |
 * | `sendgrid-key` | `SG.` and two parts | |
 * | `twilio-key` | `SK AC` and 32 hex digits | |
 * | `vault-token` | `hvs. hvb. hvr.`, and `s. b. r.` with exactly 24 characters | property paths |
 * | `age-key` | `AGE-SECRET-KEY-` | recipients, `age1…` |
 * | `docker-token`, `digitalocean-token`, `pypi-token`, `atlassian-token` | their prefixes | |
 * | `provider-token` | prefixes and inner marks of some fifty more providers (`provider-shapes.ts`, `inner-mark-rules.ts`) | ids, names of code after a prefix |
 * | `jwt` | two to five parts, the first begins `eyJ` | base64 of JSON alone |
 * | `private-key` | PEM, OpenSSH, OpenPGP, also without end, with line numbers, in base64; `d` of a JSON Web Key | certificates, public keys, mentions of the marker |
 * | `bearer`, `basic` | the token; base64 with a colon inside | "the bearer of bad news", "basic authentication" |
 * | `authorization-header`, `cookie-header` | the value, to the end of line or quote | references such as `$TOKEN` |
 * | `url-password` | the password, or a token in place of the user, of any scheme | ports, `git@`, paths with `@` |
 * | `signed-url` | signatures in queries of AWS, Google and Azure | |
 * | `option` | the word after `--password`, `--token`, `--api-key`, and after `ENV TOKEN`, `set TOKEN` | `--password-stdin`, `--token-file` |
 * | `command-password` | `mysql -p…`, `sshpass -p`, `docker login -p`, `redis-cli -a`, `curl -u user:…`, `curl -b a=…`, `echo … \| docker login --password-stdin` | `mkdir -p`, `ssh -p 22` |
 * | `pgpass` | `host:5432:database:user:password` | ports of containers |
 * | `netrc` | `machine … login … password …` | |
 * | `assignment` | literals given to a sensitive name (`sensitive-names.ts`): env, shell, YAML, JSON, INI, XML, code; pairs of a name and a value; "the password is …" | calls, types, property paths, references, sentences |
 *
 * Every rule costs work in proportion to the length of the text: anchors are found in one pass, runs of characters
 * are measured once (`runs.ts`), and everything else looks at a bounded number of characters per anchor.
 */
import { AnchorAutomaton } from './anchor-automaton.ts';
import { commandRules, netrcRule, optionRule } from './argument-rules.ts';
import { assignmentRule } from './assignment-rule.ts';
import { awsRule } from './aws-rule.ts';
import type { Glance } from './glance.ts';
import { authorizationRule, basicRule, bearerRule, cookieRule } from './header-rules.ts';
import { driverRule, innerMarkRules, pgpassRule } from './inner-mark-rules.ts';
import { jwkRule } from './jwk-rule.ts';
import { jwtRule } from './jwt-rule.ts';
import { pemRule } from './pem-rule.ts';
import type { Rule } from './rule.ts';
import { Scan } from './scan.ts';
import { identifiedRule, setRule, stdinRule } from './set-rules.ts';
import type { TextView } from './text-view.ts';
import { tokenRules } from './token-rules.ts';
import { signedUrlRule, urlPasswordRule, webhookRules } from './url-rules.ts';

const rules: readonly Rule[] = [
  ...tokenRules,
  ...innerMarkRules,
  awsRule,
  jwtRule,
  pemRule,
  jwkRule,
  bearerRule,
  basicRule,
  authorizationRule,
  cookieRule,
  urlPasswordRule,
  driverRule,
  ...webhookRules,
  signedUrlRule,
  optionRule,
  ...commandRules,
  setRule,
  stdinRule,
  identifiedRule,
  netrcRule,
  pgpassRule,
  assignmentRule,
];

/** Names of all rules, each once, in the order of the table. */
export const ruleNames: readonly string[] = [...new Set(rules.map(({ id }) => id))];

const anchors = rules.flatMap((rule, index) =>
  rule.anchors.map((anchor) => ({ anchor, length: anchor.length, rule, index })),
);
const automaton = new AnchorAutomaton(anchors.map(({ anchor }) => anchor));

/** Characters between two looks at the clock: some hundred microseconds. */
const STRETCH = 4096;

/** How far each rule has looked at the text that is searched. */
const reached = new Int32Array(rules.length);

/**
 * Marks what the rules find in a view.
 *
 * @param mask One byte per character of the original text, set to 1 where it must go.
 * @param found Gets the names of the rules that found something.
 * @param mayGoOn Asked every few thousand characters; after a false the mask is worth nothing.
 * @returns The work done, in characters looked at.
 */
export function markPatterns(
  view: TextView,
  mask: Uint8Array,
  found: Set<string>,
  mayGoOn: () => boolean,
): number {
  let scan: Scan | null = null;
  const onAnchor = (index: number, start: number) => {
    const { rule, index: ruleIndex, length } = anchors[index] as (typeof anchors)[number];
    if (scan === null) {
      scan = new Scan(view, mask, found);
      reached.fill(0);
    }
    if (start < (reached[ruleIndex] as number)) return;
    reached[ruleIndex] = Math.max(reached[ruleIndex] as number, rule.match(scan, start, start + length));
  };
  const total = view.codes.length;
  for (let from = 0; from < total && mayGoOn(); from += STRETCH) {
    automaton.find(view.codes, from, Math.min(from + STRETCH, total), onAnchor);
  }
  return total + workOf(scan);
}

/** Whether some rule may find something in a text, at a fraction of the cost of asking them all. */
export function mayHoldPattern(glance: Glance): boolean {
  const { length: total } = glance.codes;
  let may = false;
  const onAnchor = (index: number, start: number) => {
    if (may) return;
    const { rule, length } = anchors[index] as (typeof anchors)[number];
    may = rule.mayMatch?.(glance, start, start + length) ?? true;
  };
  for (let from = 0; from < total && !may; from += STRETCH) {
    automaton.find(glance.codes, from, Math.min(from + STRETCH, total), onAnchor);
  }
  return may;
}

const workOf = (scan: Scan | null): number => scan?.work ?? 0;
