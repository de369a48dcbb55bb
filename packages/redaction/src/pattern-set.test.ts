import { describe, expect, it } from 'vitest';
import { createPayloadRedactor } from './index.ts';
import { ruleNames } from './pattern-set.ts';

const redactor = createPayloadRedactor({ secrets: [], nowMs: () => 0 });

/** Letters and digits that mean nothing, put together here so that no scanner takes this file for a leak. */
const letters = 'q7Xk2Lm9Rt4Vb8Zc1Nf6Hd3Jw5Ps0Gy7Ua2Ei9Ok4TxBrMnQvCzLsDfWhKp3Y8';
const hex = '0f3a9c61d4e87b25a1c09e4f7d62b8530f3a9c61d4e87b25a1c09e4f7d62b853';
const some = (length: number) => letters.slice(0, length);
const base64Lines = Array.from({ length: 4 }, () => letters).join('\n');
const pem = (label: string) => `-----BEGIN ${label}-----\n${base64Lines}\n-----END ${label}-----`;
const jwt = `eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1c3JfMSJ9.${some(43)}`;
const uuid = '0190b2c4-7d3e-7f00-8a1b-3c5d7e9f0a1b';

/** A rule, texts it changes with what becomes of them, and texts it must leave alone. */
interface Examples {
  readonly redacts: readonly (readonly [string, string])[];
  readonly keeps: readonly string[];
}

const whole = (...texts: string[]): (readonly [string, string])[] => [
  ...texts.map((text) => [text, '[redacted]'] as const),
  ...texts
    .slice(0, 1)
    .flatMap((text) => [
      [`before ${text} after`, 'before [redacted] after'] as const,
      [`const x = "${text}";`, 'const x = "[redacted]";'] as const,
      [`echo ${text}\\n`, 'echo [redacted]\\n'] as const,
      [`See ${text}.`, 'See [redacted].'] as const,
    ]),
];

const examples: Readonly<Record<string, Examples>> = {
  'github-token': {
    redacts: whole(
      ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map((prefix) => prefix + some(36)),
      `github_pat_${some(22)}_${some(59)}`,
    ),
    keeps: [
      'the prefix ghp_ begins a token',
      'ghs_some_function_name_of_ours()',
      'github_pat_prefix',
      'ghp_short',
    ],
  },
  'gitlab-token': {
    redacts: whole(
      ...['glpat', 'gldt', 'glrt', 'glcbt', 'glptt', 'gloas'].map((kind) => `${kind}-${some(20)}`),
    ),
    keeps: ['glpat-', 'the-glpat-prefix-of-gitlab-tokens', 'glrt-runner'],
  },
  'stripe-key': {
    redacts: whole(
      `sk_live_${some(24)}`,
      `sk_test_${some(24)}`,
      `rk_live_${some(99)}`,
      `rk_test_${some(24)}`,
    ),
    keeps: [`pk_live_${some(24)}`, 'sk_test_mode_enabled', 'task_live_reload_enabled'],
  },
  'webhook-secret': { redacts: whole(`whsec_${some(32)}`), keeps: ['whsec_', 'whsec_placeholder_here'] },
  'linear-token': {
    redacts: whole(`lin_api_${some(40)}`, `lin_oauth_${hex}`, `lin_wh_${some(40)}`),
    keeps: ['lin_api_url', 'lin_api_configurationvariable'],
  },
  'slack-token': {
    redacts: whole(
      `xoxb-1234567890-1234567890-${some(24)}`,
      `xoxp-1234567890-${some(24)}`,
      `xoxe.xoxp-1-${some(40)}`,
      `xapp-1-A01-${some(24)}`,
    ),
    keeps: ['xoxb- tokens are for bots', 'xapp-level-tokens-page'],
  },
  'slack-webhook': {
    redacts: [
      [
        `https://hooks.slack.com/services/T01234567/B01234567/${some(24)}`,
        'https://hooks.slack.com/services/[redacted]',
      ],
    ],
    keeps: ['https://hooks.slack.com/services/', 'https://slack.com/help/articles/115005265063'],
  },
  'google-key': {
    redacts: whole(`AIza${some(35)}`, `ya29.${some(60)}`, `GOCSPX-${some(28)}`, `1//0${some(60)}`),
    keeps: ['AIzaFoo', 'xya29.property.name.of.something', '1//0 is a comment', 'GOCSPX-prefixed'],
  },
  'aws-key': {
    redacts: [
      ...whole('AKIAIOSFODNN7EXAMPLE', 'ASIAIOSFODNN7EXAMPLE'),
      [`AKIAIOSFODNN7EXAMPLE,${some(38)}/+`, '[redacted],[redacted]'],
      [`${some(38)}/+ for AKIAIOSFODNN7EXAMPLE`, '[redacted] for [redacted]'],
    ],
    keeps: ['AKIAIOSFODNN7EXAMPLEX', 'xAKIAIOSFODNN7EXAMPLE', 'the ASIA region', `${some(38)}/+`],
  },
  'npm-token': {
    redacts: whole(`npm_${some(36)}`),
    keeps: ['npm_config_registry', 'npm_package_dependencies_vitest'],
  },
  'openai-key': {
    redacts: whole(`sk-${some(48)}`, `sk-proj-${some(48)}-_${some(20)}`, `sk-svcacct-${some(40)}`),
    keeps: [
      'sk-circle-fade-dot-1 sk-fading-circle-container',
      `task-${some(30)}`,
      'disk-usage-and-risk-assessment',
    ],
  },
  'anthropic-key': {
    redacts: whole(`sk-ant-api03-${some(50)}-AA`),
    keeps: ['sk-ant-api03-', 'a sk-ant- prefix'],
  },
  'huggingface-token': {
    redacts: whole(`hf_${some(34)}`, `api_org_${some(34)}`),
    keeps: ['hf_hub_download', `half_hf_${some(4)}`],
  },
  'sendgrid-key': {
    redacts: whole(`SG.${some(22)}.${some(43)}`),
    keeps: ['SG.Namespace.ClassName', 'MSG.some.property.that.is.rather.long.indeed'],
  },
  'twilio-key': {
    redacts: whole(`SK${hex.slice(0, 32)}`, `AC${hex.slice(0, 32)}`),
    keeps: [`AC${hex.slice(0, 31)}`, `SK${hex.slice(0, 33)}`, `xAC${hex.slice(0, 32)}`],
  },
  'vault-token': {
    redacts: whole(`hvs.${some(60)}`, `hvb.${some(60)}`, `s.${some(24)}`),
    keeps: ['this.s.abcdefghijklmnopqrstuvwx', `s.${some(23)}`, `class.${some(24)}`, 'hvs.prefix'],
  },
  'age-key': {
    redacts: whole(`AGE-SECRET-KEY-1${some(58).toUpperCase()}`),
    keeps: [`age1${some(58).toLowerCase()}`, 'AGE-SECRET-KEY- begins it'],
  },
  'docker-token': { redacts: whole(`dckr_pat_${some(27)}`), keeps: ['dckr_pat_of_the_robot'] },
  'digitalocean-token': { redacts: whole(`dop_v1_${hex}`), keeps: [`dop_v1_${some(40)}`] },
  'pypi-token': {
    redacts: whole(`pypi-${some(60)}`),
    keeps: [`pypi-${hex}`, 'pypi-publish-action-for-github-workflows-v1'],
  },
  'atlassian-token': { redacts: whole(`ATATT3x${some(60)}`), keeps: ['ATATT3'] },
  'provider-token': {
    redacts: [
      ...whole(
        `shpat_${hex.slice(0, 32)}`,
        `figd_${some(40)}`,
        `gsk_${some(52)}`,
        `${some(14)}.atlasv1.${letters}`,
        `${hex.slice(0, 32)}-us21`,
        `sntryu_${hex}`,
      ),
      [
        `https://api.telegram.org/bot1234567890:AA${some(33)}/getMe`,
        'https://api.telegram.org/bot[redacted]/getMe',
      ],
      [`\u001b[32mnpm: figd_${some(40)}\u001b[0m.`, '\u001b[32mnpm: [redacted].'],
    ],
    keeps: [
      'gsk_build_surface_description_of_the_window',
      'napi_get_value_string_utf8_and_some_more_words_after_it',
      `${hex.slice(0, 32)}-user1 and us-us21`,
      `12345678:AAAA and aa:AA:aa:${some(12)}`,
      `${letters}.atlasv2.${letters}`,
      `cio${some(31)} cio${some(33)}`,
    ],
  },
  webhook: {
    redacts: [
      [
        `https://discord.com/api/webhooks/123456789012345678/${letters}`,
        'https://discord.com/api/webhooks/123456789012345678/[redacted]',
      ],
    ],
    keeps: [
      'https://discord.com/channels/123456789012345678/123456789012345678',
      'https://discord.com/api/webhooks/123456789012345678/',
    ],
  },
  pgpass: {
    redacts: [['db.example:5432:app:dev:hunter2x', 'db.example:5432:app:dev:[redacted]']],
    keeps: ['127.0.0.1:5432:5432', 'db.example:5432:app:dev:$PGPASS', 'localhost:5432:app:postgres'],
  },
  jwt: {
    redacts: whole(jwt, jwt.slice(0, jwt.lastIndexOf('.'))),
    keeps: [
      'data:application/json;base64,eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbXX0=',
      'eyJ2ZXJzaW9uIjozfQ.map',
      'a JWT begins with eyJ.',
    ],
  },
  'private-key': {
    redacts: [
      ...[
        pem('PRIVATE KEY'),
        pem('RSA PRIVATE KEY'),
        pem('OPENSSH PRIVATE KEY'),
        pem('PGP PRIVATE KEY BLOCK'),
      ].map((text) => [`a\n${text}\nb`, 'a\n[redacted]\nb'] as const),
      [`a\n${pem('EC PRIVATE KEY').split('-----END')[0]}`, 'a\n[redacted]\n'],
      [`${pem('EC PRIVATE KEY').slice(0, 100)}`, '[redacted]'],
      [
        pem('RSA PRIVATE KEY')
          .split('\n')
          .map((line, i) => `     ${i + 1}→${line}`)
          .join('\n'),
        '     1→[redacted]',
      ],
      [`data: ${Buffer.from(pem('PRIVATE KEY')).toString('base64')}`, 'data: [redacted]'],
      [
        `{"kty":"OKP","crv":"Ed25519","d":"${some(43)}","x":"${some(43)}"}`,
        `{"kty":"OKP","crv":"Ed25519","d":"[redacted]","x":"${some(43)}"}`,
      ],
      [JSON.stringify({ pem: pem('PRIVATE KEY') }), '{"pem":"[redacted]"}'],
      [
        `-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,${hex.slice(0, 32)}\n\n${base64Lines}\n-----END RSA PRIVATE KEY-----\n`,
        '[redacted]\n',
      ],
      [
        `  key: |\n    ${pem('PRIVATE KEY').replaceAll('\n', '\n    ')}\n  next: 1`,
        '  key: |\n    [redacted]\n  next: 1',
      ],
    ],
    keeps: [
      pem('CERTIFICATE'),
      pem('PUBLIC KEY'),
      `data: ${Buffer.from(pem('CERTIFICATE')).toString('base64')}`,
      `{"kty":"EC","crv":"P-256","x":"${some(43)}","y":"${some(43)}","kid":"${some(43)}"}`,
      "if (line.startsWith('-----BEGIN PRIVATE KEY-----')) return parse(line);",
      'A key begins with -----BEGIN RSA PRIVATE KEY----- and a line break.',
    ],
  },
  bearer: {
    redacts: [
      [`Bearer ${some(20)}`, 'Bearer [redacted]'],
      [`"bearer ${some(20)}"`, '"bearer [redacted]"'],
      [`DPoP ${some(20)}`, 'DPoP [redacted]'],
    ],
    keeps: [
      'the bearer of bad news',
      'Bearer authentication is described in RFC 6750',
      'Bearer token-based',
      'Bearer $TOKEN',
      `Bearer \${token}`,
      'Bearer <token>',
      'forbearer q7Xk2Lm9Rt4V',
    ],
  },
  basic: {
    redacts: [['Basic ZGV2Omh1bnRlcjI=', 'Basic [redacted]']],
    keeps: ['Basic authentication', 'basic understanding', 'BASIC programs', 'basic SGVsbG8gd29ybGQ='],
  },
  'authorization-header': {
    redacts: [
      ['Authorization: Bearer abc\nHost: a', 'Authorization: Bearer [redacted]\nHost: a'],
      [`curl -H "Authorization: token ${some(20)}" url`, 'curl -H "Authorization: token [redacted]" url'],
      [
        '-H \'Proxy-Authorization: Digest username="a", nonce="b"\' x',
        "-H 'Proxy-Authorization: Digest [redacted]' x",
      ],
      [`authorization: ${some(12)}`, 'authorization: [redacted]'],
    ],
    keeps: [
      'Authorization: the process of deciding who may do what',
      'Authorization: Bearer $TOKEN',
      `-H "Authorization: Bearer \${GITHUB_TOKEN}"`,
      'authorization: required',
    ],
  },
  'cookie-header': {
    redacts: [
      ['Cookie: a=1; sid=hunter2\nHost: x', 'Cookie: [redacted]\nHost: x'],
      ["-H 'Set-Cookie: sid=abc; Path=/' x", "-H 'Set-Cookie: [redacted]' x"],
    ],
    keeps: [
      'Cookie: a small baked good',
      'cookie: string',
      'const cookie: Cookie = parse(header);',
      'Cookie: a=$SID',
    ],
  },
  'url-password': {
    redacts: [
      ['postgres://app:hunter2@db:5432/app', 'postgres://app:[redacted]@db:5432/app'],
      ['redis://:p%40ss@cache', 'redis://:[redacted]@cache'],
      ['amqp+ssl://u:p/w@host/v', 'amqp+ssl://u:[redacted]@host/v'],
      ['x-y.z://u:p@w@host', 'x-y.z://u:[redacted]@host'],
      [`https://${some(30)}@example.com/a.git`, 'https://[redacted]@example.com/a.git'],
    ],
    keeps: [
      'http://localhost:3000/@scope/pkg@1.0.0',
      'ssh://git@example.com/a.git',
      'https://user@example.com',
      'postgres://app:$PASS@db',
      `postgres://app:\${PASS}@db`,
      'https://registry.example.com/@types/node/-/node-20.0.0.tgz',
      'mailto:a@example.com, see https://example.com or b@example.com',
    ],
  },
  'signed-url': {
    redacts: [
      [
        `https://b.example/x?X-Amz-Date=1&X-Amz-Signature=${hex}`,
        'https://b.example/x?X-Amz-Date=1&X-Amz-Signature=[redacted]',
      ],
      [`?sv=2022&sig=${some(40)}%3D&se=1`, '?sv=2022&sig=[redacted]&se=1'],
    ],
    keeps: [`const sig=${some(40).toLowerCase()}`, '?sig=short&x=1', '&sig=$SIGNATURE_OF_THE_URL'],
  },
  option: {
    redacts: [
      ['login --password hunter2 --user a', 'login --password [redacted] --user a'],
      ["x --api-key 'a b c' y", "x --api-key '[redacted]' y"],
      ['x -token abc', 'x -token [redacted]'],
      ['ENV API_TOKEN abc123def\n', 'ENV API_TOKEN [redacted]\n'],
      [
        'aws configure set aws_secret_access_key abc123def',
        'aws configure set aws_secret_access_key [redacted]',
      ],
    ],
    keeps: [
      'use the --password option',
      'login --password-stdin < file',
      '--token-file /run/token --keyboard us',
      '--password --user a',
      '--password "$PASSWORD"',
      '--author me --tokenizer bpe --key-id k1',
      'usage: tool [--token TOKEN]',
      'set token values before the env token is read, offset token 1234567a',
    ],
  },
  'command-password': {
    redacts: [
      ['mysql -u root -phunter2 app', 'mysql -u root -p[redacted] app'],
      ['sshpass -p hunter2 ssh a', 'sshpass -p [redacted] ssh a'],
      ["docker login -u a -p 'hunter2' r.example", "docker login -u a -p '[redacted]' r.example"],
      ['redis-cli -a hunter2 ping', 'redis-cli -a [redacted] ping'],
      ['curl -u dev:hunter2 https://a.example', 'curl -u dev:[redacted] https://a.example'],
      ['curl -s --user "dev:hunter2" https://a.example', 'curl -s --user "dev:[redacted]" https://a.example'],
      ['curl -fsSLu dev:hunter2 https://a.example', 'curl -fsSLu dev:[redacted] https://a.example'],
      ['curl -X POST \\\n  -u "dev:hunter2" \\\n  x', 'curl -X POST \\\n  -u "dev:[redacted]" \\\n  x'],
      ['curl -b "sid=hunter2; a=b" https://a.example', 'curl -b "[redacted]" https://a.example'],
      ["echo 'hunter2' | docker login --password-stdin", "echo '[redacted]' | docker login --password-stdin"],
      ["CREATE USER a IDENTIFIED BY 'hunter2';", "CREATE USER a IDENTIFIED BY '[redacted]';"],
      ['a | mysql -psecret1 | b', 'a | mysql -p[redacted] | b'],
    ],
    keeps: [
      'mkdir -p a/b && ssh -p 22 host && docker run -p 8080:80 image && cp -p a b',
      'mysql -u root -p app',
      'curl -u dev https://a.example:443/x --user-agent a:b',
      'mysql app; mkdir -pv x',
      'curl -b cookies.txt -fsSL https://a.example; curl -b "sid=$SID" -u user:password x',
      'echo "$TOKEN" | docker login --password-stdin; cat f | gh auth login --with-token',
    ],
  },
  netrc: {
    redacts: [
      ['machine a.example login dev password hunter2', 'machine a.example login dev password [redacted]'],
      [
        'machine a.example\n  login dev\n  password hunter2\n',
        'machine a.example\n  login dev\n  password [redacted]\n',
      ],
      ['default login dev password hunter2', 'default login dev password [redacted]'],
    ],
    keeps: ['machine learning needs data', 'the machine a login was made from', 'default login page'],
  },
  assignment: {
    redacts: [
      ['DB_PASSWORD=hunter', 'DB_PASSWORD=[redacted]'],
      ['export API_TOKEN="a b"', 'export API_TOKEN="[redacted]"'],
      ['SECRET_KEY_BASE=abc,def PATH=/bin', 'SECRET_KEY_BASE=[redacted] PATH=/bin'],
      ['CLIENT_SECRET=abc,def;g PATH=/bin', 'CLIENT_SECRET=[redacted] PATH=/bin'],
      ['password: hunter2', 'password: [redacted]'],
      ['  - password: swordfish\n', '  - password: [redacted]\n'],
      ['password = swordfish\nnext = 1', 'password = [redacted]\nnext = 1'],
      ['{"client_secret": "x y", "a": 1}', '{"client_secret": "[redacted]", "a": 1}'],
      ["{ apiKey: 'abc' }", "{ apiKey: '[redacted]' }"],
      ["'password' => 'x1'", "'password' => '[redacted]'"],
      ['<password>hunter2</password>', '<password>[redacted]</password>'],
      ['password: |\n  hunter2\n', 'password: |\n  [redacted]\n'],
      ['//registry.example/:_authToken=abc123', '//registry.example/:_authToken=[redacted]'],
      ['host=a user=b password=hunter2 port=1', 'host=a user=b password=[redacted] port=1'],
      ['https://a.example/?access_token=abc123&x=1', 'https://a.example/?access_token=[redacted]&x=1'],
      ['your API key: abc123def', 'your API key: [redacted]'],
      ['password: correct-horse-battery', 'password: [redacted]'],
      ['password: Hunter2', 'password: [redacted]'],
      [`\${PASS:-hunter2}`, `\${PASS:[redacted]}`],
      ['token: Q7Xk2Lm9Rt4V', 'token: [redacted]'],
      ['X-Api-Key: abc123def', 'X-Api-Key: [redacted]'],
      ['{\\"password\\":\\"hunter2\\"}', '{\\"password\\":\\"[redacted]\\"}'],
      ['const password = "unterminated', 'const password = "[redacted]'],
      [`password = '${'x1'.repeat(300)}'`, "password = '[redacted]'"],
      ['if (token === "abc123") {', 'if (token === "[redacted]") {'],
      ["const token: string | null = 'abc123';", "const token: string | null = '[redacted]';"],
      ['- name: DB_PASSWORD\n  value: hunter2\n', '- name: DB_PASSWORD\n  value: [redacted]\n'],
      ['<add key="ApiKey" value="abc123"/>', '<add key="ApiKey" value="[redacted]"/>'],
      ['req.set("X-Api-Key", "abc123def456")', 'req.set("X-Api-Key", "[redacted]")'],
      ['the password is hunter2, keep it', 'the password is [redacted], keep it'],
      ["ALTER ROLE a PASSWORD 'x1'", "ALTER ROLE a PASSWORD '[redacted]'"],
      ['\u001b[36mTOKEN\u001b[0m=\u001b[33mabc1\u001b[0m', '\u001b[36mTOKEN\u001b[0m=\u001b[33m[redacted]'],
      ['"SecretString": "{a: 1}"', '"SecretString": "[redacted]"'],
      ['AccountName=a;AccountKey=abc123==;x', 'AccountName=a;AccountKey=[redacted];x'],
    ],
    keeps: [
      'const token = await fetch(url);',
      'token: string; password?: string; secret: Secret, key: Uint8Array',
      'self.token = token',
      'password = os.environ["PASSWORD"]',
      'password=getpass.getpass()',
      'const apiKey = process.env.API_KEY;',
      'token = config.auth.token2',
      'Set the password: first, open the settings.',
      `PASSWORD=$OTHER TOKEN=\${TOKEN} SECRET={{kontext:github}} KEY_ID=abc123`,
      'PASSWORD=',
      'secret: true, token: null, password: "", passphrase: \'\'',
      `password: "\${{ secrets.PASSWORD }}"`,
      'author: "me1234567", tokenizer: "bpe12345", keyboard = "us12345"',
      'max_tokens: 4096, token_type: "urn1:x", token_endpoint="https://a1.example"',
      'primary_key: "id12345", public_key="abc12345", sort_key = abc12345',
      'PWD=/home/dev/1 OLDPWD=/tmp',
      'pass: 12, passed: 3',
      '"password": "Password"',
      'Token::new(), token == other, (token) => token.value, secret?.value',
      '<token>',
      `headers = { authorization: \`Bearer \${token}\`, x: \`DPoP \${a.b}\` }`,
      "token: '/token', device_authorization: '/device/auth', [my-auth0]: https://a.example/x",
      'secret: Uint8Array, token = JWTClaimsBuilder; secret: !0, maxSecrets = 2000, secret: 16_384',
      "resolveCredentials: 'x/ResolveCredentials', n === 1 ? 'credential' : 'credentials'",
      'a credential: `upstream`, it dies; credential:github:repo:status',
      `const token = /^DPoP +x$/.exec(y); \${PASSWORD:?set a password}`,
      'the token: its lifetime is 300 s',
      'password: <your password>',
      'nextPageToken: "abc123456"',
      '["token", "secret"], ["password", "base64url9"] and "token",\n"abc123def456"',
      'the token is base64url, the key is 256 bits long, the password is short',
      '- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef: x',
      "{ name: 'token', default: '' }, token: string, secret: Buffer = key",
      'TOKEN=`cat token.txt` PASSWORD=changeme API_KEY=your-api-key-here OPENAI_API_KEY=sk-...',
      'WHERE token = $1, "csrf-token": "1.0.3", "jsonwebtoken": "^9.0.2"',
      'password: !vault |, password: op://vault/db/password, token: env:GITHUB_TOKEN',
    ],
  },
};

describe('every rule', () => {
  it('has examples in both directions, and every example a rule', () => {
    expect(Object.keys(examples).sort()).toEqual([...ruleNames].sort());
    for (const { redacts, keeps } of Object.values(examples)) {
      expect(redacts.length * keeps.length).toBeGreaterThan(0);
    }
  });
});

describe.each(Object.entries(examples))('the rule %s', (rule, { redacts, keeps }) => {
  it.each(redacts)('redacts %j', (text, wanted) => {
    const redacted = redactor.redactText(text);

    expect(redacted).toMatchObject({ kind: 'redacted', text: wanted });
    expect(redacted.kind === 'redacted' && redacted.rules).toContain(rule);
  });

  it.each(keeps)('keeps %j', (text) => {
    expect(redactor.redactText(text)).toMatchObject({ kind: 'redacted', text, hits: 0, rules: [] });
  });
});

describe('prose, code and hashes', () => {
  it.each([
    `commit ${hex.slice(0, 40)}\nAuthor: A Dev <dev@example.com>\nDate: Mon Nov 23 10:20:31 2026`,
    `session ${uuid} of ses_${uuid}, trace ${hex.slice(0, 32)}, sha256:${hex}`,
    `"integrity": "sha512-${letters}${some(22)}==", "resolved": "https://registry.example/a/-/a-1.0.0.tgz"`,
    'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk',
    'The bearer of bad news asked the author about the tokenizer, password hygiene and secret santa.',
    'import { createSecretKey } from "node:crypto"; // the key of the map is a token type',
    'for (const [key, value] of Object.entries(headers)) if (key === authorization) delete headers[key];',
    'GET /oauth/token?grant_type=refresh_token&client_id=abc HTTP/1.1',
    'Zażółć gęślą jaźń. 你好，世界。 🔑🔒',
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0 dev@example.com',
    `docker run --rm -p 8080:80 -e TZ=UTC image:1.2.3@sha256:${hex}`,
    'C:\\Users\\dev\\keys\\readme.txt  ^\\d+$  100% of 50%25',
  ])('survive: %j', (text) => {
    expect(redactor.redactText(text)).toMatchObject({ text, hits: 0 });
  });
});
