/**
 * The agent as an attacker: a program of the developer's own user, inside a session, with the developer's environment, keyring
 * and command. Bundled by the story and run as the session's child; node built-ins only. Prints one JSON document.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createRawClient, type StoredLogin } from './raw-client.ts';

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
  /** What came of an approval of a tool call that it asked for, and tried to give itself. */
  readonly approval: {
    readonly id: string;
    readonly pages: Loot['pages'];
    /** Codes of calls that would decide, if there were any. */
    readonly calls: readonly string[];
    readonly commands: Loot['commands'];
    readonly state: string;
  };
}

const plan: Plan = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));
const { apiUrl } = plan;
const { prove, refresh, call } = createRawClient(apiUrl, readLogin());

/** Reads the login out of the keyring, as any program of the user can. */
function readLogin(): StoredLogin {
  const { Entry } = createRequire(import.meta.url)(plan.keyringLibrary);
  return JSON.parse(new Entry('kontext', apiUrl, { linux: { store: 'secret-service' } }).getPassword());
}

const tryCommands = (): Loot['commands'] => plan.commands.flatMap(run);

/** Runs a command twice: as it is, and hiding that this is a session. */
function run(args: readonly string[]): Loot['commands'] {
  const [file = '', ...leading] = plan.kontext;
  return [true, false].map((inSession) => {
    const { KONTEXT_SESSION_ID, KONTEXT_SOCKET, ...outside } = process.env;
    const env = inSession ? process.env : outside;
    const done = spawnSync(file, [...leading, ...args], { env, input: 'planted-value', timeout: 60_000 });
    return { args: args.join(' '), inSession, exitCode: done.status, stderr: String(done.stderr) };
  });
}

/** Opens a link with whatever can be had without a passcode, and presses the button anyway. */
async function tryPages(link: string, token: string, decision: string): Promise<Loot['pages']> {
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
  const press = { csrf, decision };
  const tricks: readonly [string, RequestInit][] = [
    ['nothing', {}],
    ['a press without form', { method: 'POST', body: new URLSearchParams({ decision }) }],
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
    const path = new URL(answer.url).pathname.replace(/[\w-]{36,}$/, '…');
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

/** Asks for an approval of a tool call in the name of its own session, and tries to give it to itself. */
async function tryApproval(token: string): Promise<Loot['approval']> {
  const sessionId = process.env.KONTEXT_SESSION_ID ?? '';
  const { body: found } = await call(token, 'SessionService/GetSession', { sessionId });
  const { policyVersion } = found.session as { policyVersion: string };
  const hashes = {
    callHash: randomBytes(32).toString('base64'),
    shapeHash: randomBytes(32).toString('base64'),
  };
  const shown = JSON.stringify({ schema: 2, tool: 'Bash', input: { command: 'true' }, command: 'true' });
  const facts = { sessionId, policyVersion, rule: 'local.rule', call: shown, part: 'command true' };
  const { body: asked } = await call(token, 'ApprovalService/RequestApproval', { ...facts, ...hashes });
  const { id, url } = asked.approval as { id: string; url: string };
  const pages = await tryPages(url, token, 'once');
  // There is no such call; whatever a hopeful thief sends is refused.
  const guesses = ['ApproveRequest', 'Decide', 'DecideApproval'].map((name) => `ApprovalService/${name}`);
  const answers = await Promise.all(
    guesses.map((name) => call(token, name, { approvalId: id, decision: 'once' })),
  );
  const commands = ['approve', 'deny'].map((name) =>
    run([name, id, ...(name === 'deny' ? ['--reason', 'x'] : [])]),
  );
  const wait = { approvalId: id, waitSeconds: 1, use: true };
  const { body: waited } = await call(token, 'ApprovalService/WaitApproval', wait);
  const { state } = waited.approval as { state: string };
  return { id, pages, calls: answers.map(({ code }) => code), commands: commands.flat(), state };
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
  const pages = [...(await tryPages(links[0] ?? apiUrl, token, 'confirm')), ...(await tryDeviceLogin())];
  const states = await Promise.all(
    asked.map(async (confirmationId) => {
      const { body } = await call(token, 'ConfirmationService/GetConfirmation', { confirmationId });
      return String(body.state);
    }),
  );
  const approval = await tryApproval(token);
  return { sessionId: process.env.KONTEXT_SESSION_ID ?? '', commands, calls, pages, states, approval };
}

process.stdout.write(JSON.stringify(await steal()));
