// The page docs/providers.md: words from here, tables from the catalogue.

const code = (text) => (text === '' ? '–' : `\`${text}\``);
const codes = (texts) => (texts.length === 0 ? '–' : texts.map(code).join(' '));
const of = ({ catalogue }, ...kinds) => catalogue.filter(({ kind }) => kinds.includes(kind));
const refreshes = {
  stable: 'the refresh token stays, or there is none',
  rotates: 'gives a new refresh token',
  'ends-old-token': 'gives a new refresh token **and ends the access token before it**',
};
const asks = ({ quirks }) => {
  const parameters = Object.entries(quirks.authorizeParameters).map(
    ([name, value]) => `\`${name}=${value}\``,
  );
  const commas = quirks.scopeSeparator === ',' ? ['scopes with commas'] : [];
  const json = quirks.tokenBody === 'json' ? ['JSON requests'] : [];
  return [...parameters, ...commas, ...json].join(', ') || 'nothing out of the ordinary';
};
const hostOf = ({ placesOf, endpointsOf }, entry) =>
  new URL(endpointsOf(entry, placesOf(entry, {})).authorizationEndpoint).host;

const introduction = ({ note }) => `# Providers

${note}

A provider is a service kontext can obtain credentials for. An administrator adds it once; everybody connects to it
(\`kontext connect\`, or \`kontext secrets put\` for a key); agents it is attached to get credentials of it.

\`\`\`sh
kontext providers catalogue                      # what kontext knows by name
kontext providers add github --client-id Ov23li… # secret from standard input or a hidden prompt; prints the callback URL
kontext providers add work --from gitlab --setting base=https://git.example.com --client-id …
kontext providers add acme --issuer https://id.example.com --client-id …   # endpoints from its metadata
kontext providers attach github claude --scope repo
\`\`\`

Adding, attaching, detaching and removing change authority: a person confirms them in the browser, and inside a session they are
refused. In local mode a new provider is attached to \`claude\` and \`run\` by itself; elsewhere to nobody unless \`--attach\` says so.
Nothing here was ever run against a live service: the last column says what was tried instead.

`;

const oauthSection = (source, { table }) => `## Services with OAuth 2.0

The callback URL that \`kontext providers add\` prints has to be registered at the service, exactly. PKCE is always used.

${table(
  [
    'Entry',
    'Service',
    'At',
    'Scopes unless given',
    'Variables',
    'Client authentication',
    'How far it was tried',
  ],
  of(source, 'oauth2').map((e) => [
    code(e.id),
    e.title,
    hostOf(source, e),
    codes(e.scopes),
    codes(e.variables),
    code(e.clientAuth),
    e.label,
  ]),
)}

What each of them does differently, and what \`kontext connections revoke\` really does there:

${table(
  ['Entry', 'Access token lives', 'A refresh', 'Is asked with', 'Revoking'],
  of(source, 'oauth2').map((e) => [
    code(e.id),
    e.tokenLife,
    refreshes[e.quirks.refresh],
    asks(e),
    e.revoking,
  ]),
)}

- A service that can be self-hosted moves with \`--setting base=https://…\`; where its API is elsewhere, also \`--setting api=…\`.
  An endpoint of an entry alone cannot be moved to another host: the entry's other addresses would stay at the public service.
- Slack: scopes are the bot's. \`--setting tokenOf=user\` asks for the user's own token with \`user_scope\` instead.
- A missing \`expires_in\` means unknown, not infinite: such a token is refreshed after an hour when it can be.
- Where a refresh ends the access token before it, sessions that still hold that one lose it: it is refreshed as late as possible
  (GitHub App: when less than 30 minutes are left), see [long sessions](credentials-in-long-sessions.md).

`;

const mintedSection = (source, { table }) => `## Credentials made for one lease

${table(
  ['Entry', 'Service', 'Placeholder', 'Variables', 'Lives', 'At the end', 'How far it was tried'],
  of(source, 'github_app', 'aws_sts', 'postgres', 'token_exchange').map((e) => [
    code(e.id),
    e.title,
    code(e.placeholder),
    codes(e.variables),
    e.tokenLife,
    e.revoking,
    e.label,
  ]),
)}

They need settings, for example \`kontext providers add prod --from postgres --settings '{"databases":{…}}'\`; their secret (private
key, administrator connection) comes from standard input. \`kontext providers catalogue --json\` shows settings to fill in;
[minted credentials](minted-credentials.md) explains them.

`;

const staticSection = (source, { table }) => `## Static keys

${table(
  ['Entry', 'Service', 'Variables', '`kontext connections test`'],
  of(source, 'static').map((e) => [
    code(e.id),
    e.title,
    codes(e.variables),
    e.quirks.whoAmI === null
      ? 'cannot try it'
      : `asks ${new URL(e.quirks.whoAmI.url).host}; never tried live`,
  ]),
)}

A key is stored as it is and handed out as it is: long-lived, and a lease of it is advisory. Revoking forgets it here; at the
service it has to be deleted by hand. \`kontext secrets put anything\` makes a provider of any other name.

`;

const ownSection = ({ table }) => `## A provider of your own

\`kontext providers add acme\` takes \`--authorization-endpoint\`, \`--token-endpoint\`, \`--revocation-endpoint\` (RFC 7009), \`--client-id\`,
\`--scope\`, \`--client-auth basic|post|private_key_jwt|none\`; or \`--issuer\`, and what is not given is read from its metadata (OpenID
Connect Discovery, RFC 8414; the issuer named there must be the same). With \`private_key_jwt\` the secret is a private key (PEM; RSA
of 2,048 bits or more, P-256, P-384, P-521, Ed25519). Endpoints are https, of public hosts; redirects are not followed. Settings:

${table(
  ['Setting', 'Meaning'],
  [
    ['`scopeSeparator`', '`space` (default) or `comma`'],
    [
      '`authorizeParameters`',
      'object of parameters added to the authorization request, such as `{"audience":"api"}`',
    ],
    ['`tokenBody`', '`form` (default) or `json`'],
    [
      '`refreshBeforeSeconds`',
      'how long before its end a token is refreshed; default a tenth of its life, 1 to 30 minutes',
    ],
    [
      '`whoAmI`',
      '`{"url":"https://…","account":"user.id","scopes":"scope"}`: GET with the token; paths of members of its JSON answer. For `connections test`',
    ],
    [
      '`assertionAudience`',
      'audience of `private_key_jwt`: `issuer` (default when there is one) or `token_endpoint`',
    ],
    ['`keyId`', '`kid` of that assertion'],
    ['`base`, `api`', 'where the service of a catalogue entry is'],
    [
      '`narrow`',
      '`github-app-user`: `{"target":"acme","repositories":["app"],"permissions":{"contents":"write"}}`. No lease gets the user\'s own token but one of its own, which is deleted when the lease ends; a placeholder narrows further: `?scope=contents:read`',
    ],
    ['`tokenOf`', 'Slack: `bot` (default) or `user`'],
  ],
)}

Bounds of any provider: \`--max-login-age 8h\` (a login older than that must be repeated before a credential leaves), \`--approval\`
(a person confirms the first credential of every session), \`--lease-ttl 15m\` (longest life of a credential).

## Removing one

\`kontext providers rm\` refuses while connections exist, or while credentials made for leases are in use. With \`--force\` the connections
go too: they are revoked at the service in the way of the table above, at most 15 s are waited for it, and what could not be ended
there is said. Credentials made for leases are taken back first, because without the provider's secret nobody could.
`;

/**
 * @param source The catalogue's module.
 * @param tools `table` and `note` of generate-docs.mjs.
 * @returns The page.
 */
export const providersPage = (source, tools) =>
  [
    introduction(tools),
    oauthSection(source, tools),
    mintedSection(source, tools),
    staticSection(source, tools),
    ownSection(tools),
  ].join('');
