import { isTokenLike } from './judge-value.ts';
import { charClasses } from './runs.ts';
import type { TokenShape } from './token-shape.ts';

const { alnum, word, base64, base64url, dotted, token68 } = charClasses;
const random = (body: string): boolean => isTokenLike(body, 1);
const isHex = (body: string): boolean => /^[0-9a-f]+$/.test(body);
const isMixed = (body: string): boolean => /\d/.test(body) && /[A-Z]/.test(body) && /[a-z]/.test(body);
const matches =
  (form: RegExp) =>
  (body: string): boolean =>
    form.test(body);

type Body = Pick<TokenShape, 'body' | 'min' | 'max' | 'check'>;
const issued = (prefixes: string, body: Body): TokenShape => ({
  id: 'provider-token',
  prefixes: prefixes.split(' '),
  border: true,
  ...body,
});

/** Letters and digits without meaning. */
const plain = (min: number): Body => ({ body: alnum, min, check: random });
/** Letters, digits, `-` and `_`, of which random ones have every kind. */
const url = (min: number): Body => ({ body: base64url, min, check: isMixed });
const hexOf = (length: number): Body => ({ body: alnum, min: length, max: length, check: isHex });
const mixedOf = (length: number): Body => ({ body: alnum, min: length, max: length, check: isMixed });

/** Tokens of many providers, each with a prefix that hardly stands anywhere else. */
export const providerShapes: readonly TokenShape[] = [
  // Code and packages: GitLab, Bitbucket, RubyGems, crates.io, JFrog, Buildkite, CircleCI, Postman, SonarQube.
  issued('GR1348941', url(16)),
  issued('ATBB', mixedOf(32)),
  issued('rubygems_', hexOf(48)),
  issued('cio', mixedOf(32)),
  issued('AKCp', mixedOf(69)),
  issued('cmVmdGtuOj', plain(48)),
  issued('bkua_ squ_ sqa_ sqp_', hexOf(40)),
  issued('CCIPAT_ CCIPRJ_', { body: word, min: 50, check: isMixed }),
  issued('PMAK-', { body: base64url, min: 50, check: matches(/^[0-9a-f-]+$/) }),
  // Models: Replicate, Groq, Perplexity, xAI, LangSmith, and Bedrock of AWS.
  issued('r8_ gsk_ pplx- xai-', { ...plain(30), check: isMixed }),
  issued('lsv2_pt_ lsv2_sk_', { body: word, min: 40, check: matches(/^[0-9a-f_]+$/) }),
  issued('ABSK', { body: base64, min: 100, check: isMixed }),
  // Temporary credentials of AWS: the session token.
  issued('IQoJb3JpZ2lu', { body: base64, min: 80, check: isMixed }),
  // Mail: Mailgun, Brevo, Resend.
  issued('key-', hexOf(32)),
  issued('xkeysib- xsmtpsib-', { body: base64url, min: 64, check: random }),
  issued('re_', {
    body: word,
    min: 24,
    check: matches(/^(?=\w*\d)(?=\w*[A-Z])[A-Za-z0-9]{8,9}_[A-Za-z0-9]{16,}$/),
  }),
  // Shops and money: Shopify, Square, PayPal, Plaid.
  issued('shpat_ shpca_ shppa_ shpss_ shpua_', hexOf(32)),
  issued('sq0atp- sq0csp-', url(22)),
  issued('EAAA', { body: base64url, min: 60, max: 60, check: isMixed }),
  issued('A21AA', url(80)),
  issued('access-sandbox- access-development- access-production-', {
    body: base64url,
    min: 36,
    max: 36,
    check: matches(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  }),
  // Chat: Discord. The first part is the base64 of a number.
  issued('MTA MTE MTI MTM MTQ', {
    body: dotted,
    min: 55,
    check: matches(/^[A-Za-z0-9]{20,24}\.[\w-]{6}\.[\w-]{27,40}$/),
  }),
  // Watching: Datadog, New Relic, Grafana, Sentry, Dynatrace.
  issued('ddpat_ ddsat_ ddapp_', plain(30)),
  issued('NRAK-', { ...plain(24), max: 30 }),
  issued('glsa_', { body: word, min: 40, check: random }),
  issued('glc_', { body: token68, min: 40, check: isMixed }),
  issued('sntrys_', { body: token68, min: 60, check: isMixed }),
  issued('sntryu_ sntrya_ sntryi_', hexOf(64)),
  issued('dt0c01. dt0s01. dt0s16.', { body: dotted, min: 80, check: random }),
  // Work: Notion, Figma, Airtable.
  issued('ntn_', { ...plain(40), check: isMixed }),
  issued('secret_', mixedOf(43)),
  issued('figd_ figu_ figo_', url(36)),
  issued('pat', { body: dotted, min: 79, max: 79, check: matches(/^[A-Za-z0-9]{14}\.[0-9a-f]{64}$/) }),
  // Clouds: Heroku, Vercel, Netlify, Cloudflare, Fly, Render, Tailscale.
  issued('HRKU-', url(36)),
  issued('vcp_ vci_ vca_ vcr_ vck_ nfp_ nfo_ nfc_ nfb_ nfu_', plain(24)),
  issued('cfut_ cfat_ cfk_', { body: base64url, min: 36, check: random }),
  issued('v1.0-', { body: base64url, min: 160, check: matches(/^[0-9a-f]{24}-[0-9a-f]{100,}$/) }),
  issued('fm2_ fm1r_ fm1a_', { body: base64, min: 40, check: isMixed }),
  issued('fo1_', url(36)),
  issued('rnd_', mixedOf(28)),
  issued('tskey-', { body: base64url, min: 24, check: isMixed }),
  // Databases: Supabase, PlanetScale, Neon, Databricks.
  issued('sbp_', hexOf(40)),
  issued('sb_secret_', url(24)),
  issued('pscale_tkn_ pscale_pw_ pscale_oauth_', url(32)),
  issued('napi_', { ...plain(48) }),
  issued('dapi', hexOf(32)),
  // Secrets and plans: Doppler, 1Password, Pulumi.
  issued('dp.st. dp.pt. dp.ct. dp.sa. dp.scim. dp.audit.', { body: dotted, min: 40, check: isMixed }),
  issued('ops_eyJ', { body: base64url, min: 100, check: isMixed }),
  issued('pul-', hexOf(40)),
  // A private key in base64, as kubeconfig files and pipelines hold it: begins with the five dashes.
  {
    id: 'private-key',
    prefixes: ['LS0tLS1CRUdJTi'],
    body: base64,
    min: 40,
    check: (body) =>
      Buffer.from(`LS0tLS1CRUdJTi${body.slice(0, 86)}`, 'base64')
        .toString('latin1')
        .includes('PRIVATE KEY'),
  },
];
