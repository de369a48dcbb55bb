import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type IdentityProvider, startIdentityProvider } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createProgram } from './program.ts';

describe('kontext-backend idp', () => {
  let directory: string;
  let idp: IdentityProvider;
  const lines: string[] = [];
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'kontext-idp-'));
    vi.stubEnv('KONTEXT_DATA_DIR', join(directory, 'data'));
    writeFileSync(join(directory, 'secret'), 'a-client-secret\n');
    idp = await startIdentityProvider();
    await run('org', 'create', 'acme', '--owner', 'alice@acme.test');
  }, 120_000);
  afterAll(async () => {
    vi.unstubAllEnvs();
    await idp?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const run = async (...args: string[]) => {
    lines.length = 0;
    const serve = async () => undefined;
    await createProgram({ print: (line) => void lines.push(line), serve }).parseAsync(['node', 'x', ...args]);
    return lines.join('\n');
  };

  it('adds, lists and removes, and prints what to register at the provider', {
    timeout: 120_000,
  }, async () => {
    const file = join(directory, 'secret');
    const where = ['--org', 'acme', '--issuer', idp.issuer, '--client-id', 'kontext'];
    const what = ['--client-secret-file', file, '--email-domain', 'acme.test', '--group-role', 'a=b=admin'];
    const added = await run('idp', 'add', 'okta', ...where, ...what);
    const listed = await run('idp', 'ls', '--org', 'acme');
    const removed = await run('idp', 'rm', 'okta', '--org', 'acme');
    expect(added).toMatch(/callback URL: +http:\/\/127\.0\.0\.1:4180\/login\/callback\/[\w-]{24}/);
    expect(added).toMatch(/logout URL: +http:\/\/127\.0\.0\.1:4180\/login\/backchannel\/[\w-]{24}/);
    expect(added).not.toContain('a-client-secret');
    expect(listed).toBe(added);
    expect(removed).toContain('removed the identity provider okta; 0 logins ended');
    expect(await run('idp', 'ls', '--org', 'acme')).toBe('');
  });

  it('names the key set to register where we sign for ourselves', { timeout: 120_000 }, async () => {
    const where = ['--org', 'acme', '--issuer', idp.issuer, '--client-id', 'keys'];
    const added = await run('idp', 'add', 'keys', ...where, '--client-auth', 'private_key_jwt');
    expect(added).toContain('/oauth/jwks');
  });

  it('refuses an unknown organisation, a missing file and a role that is none', {
    timeout: 120_000,
  }, async () => {
    const where = ['--issuer', idp.issuer, '--client-id', 'x', '--client-auth', 'none'];
    await expect(run('idp', 'add', 'x', '--org', 'nobody', ...where)).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
    const missing = ['--client-secret-file', join(directory, 'missing')];
    await expect(run('idp', 'add', 'x', '--org', 'acme', ...where, ...missing)).rejects.toMatchObject({
      code: 'KX_REQUEST_INVALID',
    });
    await expect(
      run('idp', 'add', 'x', '--org', 'acme', ...where, '--group-role', 'devs=king'),
    ).rejects.toMatchObject({ code: 'KX_IDENTITY_PROVIDER_INVALID' });
    await expect(run('idp', 'rm', 'x', '--org', 'acme')).rejects.toMatchObject({ code: 'KX_NOT_FOUND' });
  });
});
