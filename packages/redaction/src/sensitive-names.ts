/**
 * Which names of keys, variables, headers and options announce a secret.
 *
 * A name is split into words (`clientSecret`, `CLIENT_SECRET`, `client-secret` are the same two), qualifiers at its end
 * are dropped (`DB_PASSWORD_PROD`, `password2`), and its last words decide. Because whole words are compared, `author`,
 * `tokenizer`, `keyboard`, `secretary`, `token_type`, `public_key` and `max_tokens` are no secrets.
 */

/**
 * How much a name says: `strong` makes any literal a secret; `weak` only one that looks random, because the word has
 * everyday uses too (`pass: 12`, `PWD=/home/dev`).
 */
export type NameStrength = 'strong' | 'weak';

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/));

const qualifiers = words(
  `prod production staging stage dev development test testing live sandbox local ci env old new current previous prev
   primary secondary backup default base value val raw plain plaintext b64 base64 hex hash hashed digest encrypted
   confirmation confirm again repeat header string v1 v2 v3`,
);

const strongWords = words(
  'secret secrets passwords credential credentials creds authorization pswd passwort',
);

/** Also at the end of a longer word: `dbpassword`, `clientsecret`, `PGPASSWORD`, `githubtoken`. */
const strongEndings = [
  ...['password', 'passwd', 'passphrase', 'passcode', 'secret', 'token', 'credentials', 'authorization'],
  ...[
    'apikey',
    'accesskey',
    'secretkey',
    'privatekey',
    'signingkey',
    'encryptionkey',
    'masterkey',
    'accountkey',
  ],
  ...['dbpass', 'dbpwd', 'userpass', 'rootpass', 'adminpass', 'storepass', 'keypass'],
];

const keyOwners = words(
  `api access secret private signing encryption decryption master auth account service storage shared deploy webhook
   hmac aes symmetric jwt admin root consumer app application server license session integration project role subscription
   openai anthropic stripe sendgrid mailgun twilio github gitlab google azure aws datadog algolia resend`,
);

/** What stands before `pass` or `pwd` in the name of a real password. */
const passOwners = words(
  `db database smtp mail email user admin root mysql mariadb postgres pg redis mongo mongodb ftp sftp ssh ldap proxy
   vpn wifi rabbitmq amqp mqtt git docker registry http basic login account service app sudo key keystore`,
);

/** What stands before `token` where it is a mark of a text, a page or a type. */
const plainTokenOwners = words(
  `page next continuation pad eos bos unk mask sep cls stop special design cancel cancellation abort sync cursor syntax
   start end first last per max min prompt completion input output injection lexer parser`,
);

/** A name that begins so is a count, a question or an action. */
const otherBeginnings = words(
  `max min num count total is has get parse list issue resolve renew attenuate revoke mint create fetch load read existing`,
);

const tokenOwners = words('access refresh auth api bearer session bot personal id oauth oauth2');
const weakWords = words('pass pwd auth cookie cookies jwt pat');

/** Stands in every name that says something; most names are done here. */
const mayAnnounce = /pass|pwd|pswd|secret|token|key|cred|auth|cookie|jwt|pat/i;

/**
 * Judges a name.
 *
 * @param name As written, at most a few hundred characters: `x-api-key`, `config.dbPassword`, `AWS_SECRET_ACCESS_KEY`.
 * @returns Null for a name that announces nothing.
 */
export function nameStrength(name: string): NameStrength | null {
  return mayAnnounce.test(name) ? recallName(name) : null;
}

/** Longest name that is remembered, and most of them. */
const MAX_KNOWN = 64;
const MAX_KNOWN_COUNT = 1024;

/** The same few names stand in every text, and to judge one takes a microsecond. */
const known = new Map<string, NameStrength | null>();

function recallName(name: string): NameStrength | null {
  const before = known.get(name);
  if (before !== undefined) return before;
  const strength = judgeName(name);
  if (name.length > MAX_KNOWN) return strength;
  if (known.size >= MAX_KNOWN_COUNT) known.clear();
  known.set(name, strength);
  return strength;
}

function judgeName(name: string): NameStrength | null {
  const parts = withoutQualifiers(splitWords(name));
  if (parts.length > 1 && otherBeginnings.has(parts[0] as string)) return null;
  const last = (parts.at(-1) ?? '').replace(/\d+$/, '');
  const before = parts.at(-2) ?? '';
  if (last === 'token') return plainTokenOwners.has(before) ? null : 'strong';
  if (last === 'tokens') return tokenOwners.has(before) ? 'strong' : null;
  if (last === 'key' || last === 'keys') return keyOwners.has(before) ? 'strong' : null;
  if (last === 'pass' || last === 'pwd') return passOwners.has(before) ? 'strong' : 'weak';
  if (strongWords.has(last) || strongEndings.some((ending) => last.endsWith(ending))) return 'strong';
  return weakWords.has(last) ? 'weak' : null;
}

function withoutQualifiers(parts: readonly string[]): readonly string[] {
  let end = parts.length;
  while (end > 1 && (qualifiers.has(parts[end - 1] as string) || /^\d+$/.test(parts[end - 1] as string)))
    end -= 1;
  return parts.slice(0, end);
}

/** Words in lower case; borders are signs, and capitals as in `apiKey` and `APIKey`. */
function splitWords(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
}
