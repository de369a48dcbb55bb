import { hasDenseStretch, isTokenLike } from './judge-value.ts';
import { providerShapes } from './provider-shapes.ts';
import { charClasses } from './runs.ts';
import type { TokenShape } from './token-shape.ts';

const { alnum, word, base64, base64url, dotted, slack } = charClasses;
const random = (body: string): boolean => isTokenLike(body, 1);
const dense = (body: string): boolean => hasDenseStretch(body, 12);
const isHex = (body: string): boolean => /^[0-9a-f]+$/.test(body);
const isMixed = (body: string): boolean => /\d/.test(body) && /[A-Z]/.test(body) && /[a-z]/.test(body);

/** Tokens by the public documentation of their providers. */
export const tokenShapes: readonly TokenShape[] = [
  {
    id: 'github-token',
    prefixes: ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'],
    body: dotted,
    min: 20,
    check: dense,
  },
  { id: 'github-token', prefixes: ['github_pat_'], body: word, min: 20, check: random },
  {
    id: 'gitlab-token',
    prefixes: ['pat', 'dt', 'rt', 'cbt', 'ptt', 'ft', 'imt', 'agent', 'soat', 'ffct', 'wt']
      .map((kind) => `gl${kind}-`)
      .concat('gloas-'),
    body: dotted,
    min: 16,
    // A sign in its middle leaves no long stretch.
    check: (body) => dense(body) || isMixed(body),
  },
  {
    id: 'stripe-key',
    prefixes: ['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_', 'sk_org_'],
    body: word,
    min: 10,
    check: random,
  },
  { id: 'webhook-secret', prefixes: ['whsec_'], body: base64, min: 16, check: random },
  {
    id: 'linear-token',
    prefixes: ['lin_api_', 'lin_oauth_', 'lin_wh_'],
    body: alnum,
    min: 16,
    check: random,
  },
  {
    id: 'slack-token',
    prefixes: [
      'xoxb-',
      'xoxp-',
      'xoxa-',
      'xoxr-',
      'xoxs-',
      'xoxc-',
      'xoxd-',
      'xoxe-',
      'xoxe.',
      'xapp-',
      'xwfp-',
    ],
    body: slack,
    min: 10,
    check: random,
  },
  { id: 'google-key', prefixes: ['AIza'], body: base64url, min: 30, check: random },
  { id: 'google-key', prefixes: ['GOCSPX-'], body: base64url, min: 20, check: random },
  { id: 'google-key', prefixes: ['ya29.'], body: dotted, min: 20, border: true, check: random },
  { id: 'google-key', prefixes: ['1//0'], body: base64url, min: 30, border: true, check: isMixed },
  { id: 'npm-token', prefixes: ['npm_'], body: alnum, min: 30, border: true, check: random },
  { id: 'openai-key', prefixes: ['sk-'], body: base64url, min: 20, border: true, check: dense },
  { id: 'anthropic-key', prefixes: ['sk-ant-'], body: base64url, min: 16, border: true, check: dense },
  {
    id: 'huggingface-token',
    prefixes: ['hf_', 'api_org_'],
    body: alnum,
    min: 20,
    border: true,
    check: random,
  },
  {
    id: 'sendgrid-key',
    prefixes: ['SG.'],
    body: dotted,
    min: 30,
    border: true,
    check: (body) => /^[\w-]{12,}\.[\w-]{12,}\.?$/.test(body),
  },
  { id: 'twilio-key', prefixes: ['SK', 'AC'], body: alnum, min: 32, max: 32, border: true, check: isHex },
  {
    id: 'vault-token',
    prefixes: ['hvs.', 'hvb.', 'hvr.'],
    body: base64url,
    min: 20,
    border: true,
    check: random,
  },
  {
    id: 'vault-token',
    prefixes: ['s.', 'b.', 'r.'],
    body: alnum,
    min: 24,
    max: 24,
    border: true,
    check: isMixed,
  },
  { id: 'age-key', prefixes: ['AGE-SECRET-KEY-'], body: base64url, min: 30, check: random },
  { id: 'docker-token', prefixes: ['dckr_pat_', 'dckr_oat_'], body: base64url, min: 20, check: random },
  {
    id: 'digitalocean-token',
    prefixes: ['dop_v1_', 'doo_v1_', 'dor_v1_'],
    body: alnum,
    min: 40,
    check: isHex,
  },
  { id: 'pypi-token', prefixes: ['pypi-'], body: base64url, min: 40, border: true, check: isMixed },
  {
    id: 'atlassian-token',
    prefixes: ['ATATT3', 'ATCTT3', 'ATSTT3'],
    body: charClasses.token68,
    min: 40,
    check: isMixed,
  },
  ...providerShapes,
];
