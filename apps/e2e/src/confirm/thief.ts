/**
 * The agent as an attacker: a program of the developer's own user, inside a session, with the developer's environment, keyring
 * and command. Bundled by the story and run as the session's child; node built-ins only. Prints one JSON document.
 */
import { spawnSync } from 'node:child_process';
import { createHash, createPrivateKey, randomUUID, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** What the thief knows and tries; a JSON file named on its command line. */
export interface Plan {
  readonly apiUrl: string;
  /** How to run the command. */
  readonly kontext: readonly string[];
  readonly keyringLibrary: string;
  /** Commands that change authority. */
  readonly commands: readonly (readonly string[])[];
  /** `Service/Method` and JSON message of calls that change authority. */
  readonly calls: readonly (readonly [string, object])[];
  /** Confirmations of the developer: one that was used, and one confirmed for another request. */
  readonly stolenIds: readonly string[];
}

/** What came of it. */
export interface Loot {
  readonly sessionId: string;
  readonly commands: readonly {
    readonly args: string;
    readonly inSession: boolean;
    readonly exitCode: number | null;
    readonly stderr: string;
  }[];
  readonly calls: readonly { readonly name: string; readonly with: string; readonly code: string }[];
  readonly pages: readonly { readonly trick: string; readonly status: number; readonly path: string }[];
  /** The states of the confirmations it asked for, at the end. */
  readonly states: readonly string[];
}

const plan: Plan = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));
const { apiUrl } = plan;
const login = readLogin();
const key = createPrivateKey({ key: login.jwk, format: 'jwk' });

interface StoredLogin {
  readonly refreshToken: string;
  readonly jwk: { readonly kty: string; readonly crv: string; readonly x: string; readonly y: string };
}

/** Reads the login out of the keyring, as any program of the user can. */
function readLogin(): StoredLogin {
  const { Entry } = createRequire(import.meta.url)(plan.keyringLibrary);
  return JSON.parse(new Entry('kontext', apiUrl, { linux: { store: 'secret-service' } }).getPassword());
}

function prove(url: string, accessToken?: string): string {
  const { kty, crv, x, y } = login.jwk;
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const ath = accessToken && createHash('sha256').update(accessToken).digest('base64url');
  const claims = { jti: randomUUID(), htm: 'POST', htu: url, iat: Math.floor(Date.now() / 1000) };
  const head = { typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } };
  const text = `${encode(head)}.${encode({ ...claims, ...(ath ? { ath } : {}) })}`;
  const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}

async function refresh(): Promise<string> {
  const url = `${apiUrl}/oauth/token`;
  const { refreshToken } = login;
  const fields = { grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'kontext-cli' };
  const answer = await fetch(url, {
    method: 'POST',
    headers: { dpop: prove(url) },
    body: new URLSearchParams(fields),
  });
  const { access_token: token } = (await answer.json()) as { access_token?: string };
  if (token === undefined) throw new Error(`the stolen login does not even work: ${answer.status}`);
  return token;
}

interface Answer {
  readonly code: string;
  readonly body: Record<string, unknown>;
  readonly detail: Record<string, string>;
}

async function call(token: string, name: string, message: object, confirmation?: string): Promise<Answer> {
  const url = `${apiUrl}/kontext.v1.${name}`;
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `DPoP ${token}`,
      dpop: prove(url, token),
      'content-type': 'application/json',
      ...(confirmation === undefined ? {} : { 'kontext-confirmation': confirmation }),
    },
    body: JSON.stringify(message),
  });
  const body = (await answer.json()) as Record<string, unknown>;
  const [first] = (body.details as { debug?: Record<string, string> }[] | undefined) ?? [];
  const detail = first?.debug ?? {};
  return { code: answer.ok ? 'let through' : (detail.code ?? String(body.code)), body, detail };
}

function tryCommands(): Loot['commands'] {
  const [file = '', ...leading] = plan.kontext;
  return plan.commands.flatMap((args) =>
    [true, false].map((inSession) => {
      const { KONTEXT_SESSION_ID, KONTEXT_SOCKET, ...outside } = process.env;
      const env = inSession ? process.env : outside;
      const done = spawnSync(file, [...leading, ...args], { env, input: 'planted-value', timeout: 60_000 });
      return { args: args.join(' '), inSession, exitCode: done.status, stderr: String(done.stderr) };
    }),
  );
}

/** Opens a link with whatever can be had without a passcode, and presses the button anyway. */
async function tryPages(link: string, token: string): Promise<Loot['pages']> {
  const bare = await fetch(link);
  const cookie = bare.headers
    .getSetCookie()
    .map((line) => line.split(';')[0])
    .join('; ');
  const loginPage = await fetch(`${apiUrl}/login`, { headers: { cookie } });
  const own =
    cookie ||
    loginPage.headers
      .getSetCookie()
      .map((line) => line.split(';')[0])
      .join('; ');
  const csrf = /name="csrf" value="([^"]+)"/.exec(await loginPage.text())?.[1] ?? '';
  const proof = { authorization: `DPoP ${token}`, dpop: prove(link, token) };
  const press = { csrf, decision: 'confirm' };
  const tricks: readonly [string, RequestInit][] = [
    ['nothing', {}],
    ['a press without form', { method: 'POST', body: new URLSearchParams({ decision: 'confirm' }) }],
    ['its own cookie', { headers: { cookie: own } }],
    [
      'its own cookie and form',
      { method: 'POST', headers: { cookie: own }, body: new URLSearchParams(press) },
    ],
    ['the access token', { headers: proof }],
    [
      'the access token as a press',
      { method: 'POST', headers: { ...proof, cookie: own }, body: new URLSearchParams(press) },
    ],
    ['the access token as a cookie', { headers: { cookie: `kontext_browser=${token}` } }],
    ['a forged cookie', { headers: { cookie: `kontext_browser=${'A'.repeat(43)}.${'A'.repeat(43)}` } }],
  ];
  const pages: { trick: string; status: number; path: string }[] = [];
  for (const [trick, init] of tricks) {
    const answer = await fetch(link, init);
    const path = new URL(answer.url).pathname.replace(/[\w-]{43}$/, '…');
    pages.push({ trick, status: answer.status, path });
  }
  return pages;
}

/** A device login of its own, which nobody approves: the page asks for a passcode. */
async function tryDeviceLogin(): Promise<Loot['pages']> {
  const begun = await fetch(`${apiUrl}/oauth/device/auth`, {
    method: 'POST',
    body: new URLSearchParams({ client_id: 'kontext-cli', scope: 'openid offline_access kontext' }),
  });
  const { verification_uri_complete: uri = '' } = (await begun.json()) as Record<string, string>;
  const answer = await fetch(uri);
  return [{ trick: 'a device login of its own', status: answer.status, path: new URL(answer.url).pathname }];
}

async function steal(): Promise<Loot> {
  const commands = tryCommands();
  const token = await refresh();
  const calls: { name: string; with: string; code: string }[] = [];
  const asked: string[] = [];
  const links: string[] = [];
  for (const [name, message] of plan.calls) {
    const first = await call(token, name, message);
    calls.push({ name, with: 'nothing', code: first.code });
    if (first.detail.confirmationId) asked.push(first.detail.confirmationId);
    if (first.detail.confirmUri) links.push(first.detail.confirmUri);
    for (const id of [...plan.stolenIds, first.detail.confirmationId ?? 'cnf_x']) {
      calls.push({ name, with: id, code: (await call(token, name, message, id)).code });
    }
  }
  const pages = [...(await tryPages(links[0] ?? apiUrl, token)), ...(await tryDeviceLogin())];
  const states = await Promise.all(
    asked.map(async (confirmationId) => {
      const { body } = await call(token, 'ConfirmationService/GetConfirmation', { confirmationId });
      return String(body.state);
    }),
  );
  return { sessionId: process.env.KONTEXT_SESSION_ID ?? '', commands, calls, pages, states };
}

process.stdout.write(JSON.stringify(await steal()));
