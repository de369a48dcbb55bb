/**
 * A backend as an organisation hosts it: Postgres, TLS, no local accounts; and the identity provider its people log in with.
 * Everything is on loopback, with one self-signed certificate that all programs are told to trust.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CommandResult,
  createSelfSignedCertificate,
  findFreePort,
  type IdentityProvider,
  runCommand,
  scratchHome,
  startIdentityProvider,
} from '@kontext/testkit';
import { openDatabase } from '../databases.ts';
import { builtPrograms, startBackend } from '../programs.ts';
import type { World } from '../world.ts';

/** See {@link startOrganisation}. */
export interface Organisation {
  readonly world: World;
  readonly idp: IdentityProvider;
  /** Runs `kontext-backend` with the backend's environment. */
  administer(...args: string[]): Promise<CommandResult>;
  close(): Promise<void>;
}

/** What differs. */
export interface OrganisationOptions {
  /** How long the identity provider's word counts; 10 to 43,200. */
  readonly revalidateSeconds: number;
}

/** Makes organisation `acme` with the owner `owner@acme.test`, adds its identity provider from the command line, and serves. */
export async function startOrganisation({ revalidateSeconds }: OrganisationOptions): Promise<Organisation> {
  const home = scratchHome();
  const programs = builtPrograms();
  const database = await openDatabase('Postgres');
  const tls = await createSelfSignedCertificate();
  const [certFile, keyFile, secretFile] = ['cert.pem', 'key.pem', 'secret'].map((name) =>
    join(home.root, name),
  );
  const clientSecret = randomBytes(24).toString('base64url');
  writeFileSync(certFile ?? '', tls.cert);
  writeFileSync(keyFile ?? '', tls.key, { mode: 0o600 });
  writeFileSync(secretFile ?? '', clientSecret, { mode: 0o600 });
  const apiUrl = `https://127.0.0.1:${await findFreePort()}`;
  const trust = { ...home.env, NODE_EXTRA_CA_CERTS: certFile ?? '', NO_COLOR: '1' };
  const backendEnv = {
    ...trust,
    DATABASE_URL: database.url ?? '',
    KONTEXT_LISTEN: new URL(apiUrl).host,
    KONTEXT_PUBLIC_URL: apiUrl,
    KONTEXT_TLS_CERT: certFile ?? '',
    KONTEXT_TLS_KEY: keyFile ?? '',
    KONTEXT_KEK_FILE: join(home.root, 'kek.json'),
    // The identity provider has a private address.
    KONTEXT_OUTBOUND_HOSTS: '127.0.0.1',
  };
  const env = { ...trust, KONTEXT_API_URL: apiUrl };
  const runProgram = (
    [file = '', ...leading]: readonly string[],
    args: readonly string[],
    wanted: typeof env | typeof backendEnv,
  ) =>
    runCommand(file, [...leading, ...args], { cwd: home.workDir, env: wanted, stdin: '', timeoutMs: 60_000 });
  const administer = async (...args: string[]): Promise<CommandResult> => {
    const result = await runProgram(programs.backend, args, backendEnv);
    if (result.exitCode !== 0) throw new Error(`kontext-backend ${args[0]}: ${result.stderr}`);
    return result;
  };
  const idp = await startIdentityProvider({ tls });
  await administer('keys', 'create');
  await administer('migrate');
  await administer('org', 'create', 'acme', '--owner', 'owner@acme.test');
  const where = [
    '--org',
    'acme',
    '--issuer',
    idp.issuer,
    '--client-id',
    'kontext',
    '--client-secret-file',
    secretFile ?? '',
  ];
  const rules = [
    '--email-domain',
    'acme.test',
    '--admit-new-members',
    '--revalidate-seconds',
    String(revalidateSeconds),
  ];
  const { stdout } = await administer('idp', 'add', 'okta', ...where, ...rules);
  const redirectUri = /callback URL: +(\S+)/.exec(stdout)?.[1] ?? '';
  await idp.putClient({ clientId: 'kontext', clientSecret, redirectUris: [redirectUri] });
  const world: World = {
    ...{ apiUrl, home, programs, env, upstream: null, recorder: null, account: '', passcode: '' },
    people: new Map(),
    backend: await startBackend(programs.backend, backendEnv),
    cli: (args) => runProgram(programs.kontext, args, env),
    async restartBackend() {
      world.backend = await startBackend(programs.backend, backendEnv);
    },
    async close() {
      await world.backend.stop();
      await idp.stop();
      await database.close();
      home.remove();
    },
  };
  return { world, idp, administer, close: () => world.close() };
}
