/** What a user gets: both packages packed as they are published, installed globally into an empty prefix, no scripts. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findFreePort, runCommand, runCommandOrThrow, type ScratchHome, scratchHome } from '@kontext/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { installedPrograms, repositoryRoot } from '../programs.ts';
import { startCommand } from '../running-command.ts';
import { startWorld } from '../world.ts';

/** An install needs the registry; where it does not answer there is nothing to show. */
const npmAnswers =
  (await runCommand('npm', ['ping', '--fetch-retries=1', '--fetch-timeout=15000'])).exitCode === 0;
const slowMs = 300_000;

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

interface Packed {
  readonly manifest: Manifest;
  readonly tarball: string;
  /** Where the tarball was unpacked. */
  readonly folder: string;
}

describe.skipIf(!npmAnswers)(`installed${npmAnswers ? '' : ' (skipped: npm does not answer)'}`, () => {
  let home: ScratchHome;
  let prefix: string;
  let cli: Packed;
  let backend: Packed;

  beforeAll(async () => {
    home = scratchHome();
    prefix = join(home.root, 'prefix');
    cli = await pack('cli');
    backend = await pack('backend');
    await install(cli);
  }, slowMs);
  afterAll(() => home?.remove());

  const root = fileURLToPath(repositoryRoot());

  async function pack(app: string): Promise<Packed> {
    const folder = join(home.root, app);
    const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', home.root];
    const { stdout } = await runCommandOrThrow('npm', args, { cwd: join(root, 'apps', app) });
    const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
    const tarball = join(home.root, filename);
    await runCommandOrThrow('sh', ['-c', `mkdir '${folder}' && tar -xzf '${tarball}' -C '${folder}'`]);
    const manifest = JSON.parse(readFileSync(join(folder, 'package/package.json'), 'utf8')) as Manifest;
    return { manifest, tarball, folder: join(folder, 'package') };
  }
  async function install(...packages: readonly Packed[]): Promise<void> {
    const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts'];
    const tarballs = packages.map(({ tarball }) => tarball);
    await runCommandOrThrow('npm', ['install', '--global', '--prefix', prefix, ...quiet, ...tarballs], {
      cwd: home.workDir,
      timeoutMs: slowMs,
    });
  }

  it('the packages need nothing of this repository, and no script to be installed', () => {
    for (const { manifest } of [cli, backend]) {
      const needed = { ...manifest.dependencies, ...manifest.optionalDependencies };
      const peers = Object.keys(manifest.peerDependencies ?? {});
      const scripts = Object.keys(manifest.scripts ?? {});

      expect([...Object.keys(needed), ...peers].filter((name) => name.startsWith('@kontext/'))).toEqual([]);
      // The SDKs of key services: whoever uses one brings it.
      expect(peers.filter((name) => manifest.peerDependenciesMeta?.[name]?.optional !== true)).toEqual([]);
      expect(Object.values(needed).filter((range) => !/^\d+\.\d+\.\d+$/.test(range))).toEqual([]);
      expect(scripts.filter((name) => /install|prepare/.test(name))).toEqual([]);
      expect(manifest.license).toBe('MIT');
    }
  });

  it('the command is small: tarball without wasm, runtime dependencies, installed size', async () => {
    const packed = join(home.root, 'without-wasm.tgz');
    await runCommandOrThrow('tar', ['-czf', packed, '--exclude=*.wasm', '-C', cli.folder, '.']);

    // The goal is 250 kB; the audit commands and the redaction of patterns put it above.
    expect(statSync(packed).size).toBeLessThanOrEqual(285_000);
    expect(Object.keys(cli.manifest.dependencies ?? {}).length).toBeLessThanOrEqual(6);
    expect(sizeOf(prefix)).toBeLessThanOrEqual(25_000_000);
  });

  it('the command works without the backend, and says how to get it', async () => {
    const [kontext = ''] = installedPrograms(prefix).kontext;
    const env = { ...home.env, PATH: onlyNode() };

    const version = await runCommand(kontext, ['version', '--json'], { env });
    const serve = await runCommand(kontext, ['serve'], { env });

    expect(JSON.parse(version.stdout)).toMatchObject({ version: cli.manifest.version });
    expect(serve.exitCode).toBe(78);
    expect(serve.stderr).toMatch(/KX_BACKEND_NOT_INSTALLED[\s\S]*npm install -g @kontext\/backend/);
  });

  it(
    'the demo passes from there',
    async () => {
      await install(backend);
      const demo = join(root, 'apps/e2e/dist/demo.js');

      const result = await runCommand(process.execPath, [demo, '--json', '--bin', prefix], {
        cwd: home.workDir,
        timeoutMs: slowMs,
      });

      expect(result.stderr).toContain('Everything held.');
      expect(result.exitCode).toBe(0);
      expect(JSON.parse(result.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({
        credentials: 2,
        denied: 1,
        auditVerified: true,
      });
    },
    slowMs,
  );

  it('`kontext serve` finds the backend that was installed beside it, and hands Ctrl-C on', async () => {
    const programs = installedPrograms(prefix);
    const world = await startWorld({ programs, upstream: false });
    const KONTEXT_LISTEN = `127.0.0.1:${await findFreePort()}`;
    const serve = startCommand(world, ['serve'], { env: { PATH: onlyNode(), KONTEXT_LISTEN } });

    await serve.waitFor(/kontext-backend: listening on http:\/\/127\.0\.0\.1:\d+/);
    serve.kill('SIGINT');
    const result = await serve.ended;
    await world.close();

    expect(result.stdout).toContain(KONTEXT_LISTEN);
    expect([0, 130]).toContain(result.exitCode);
  });

  /** A search path that holds node and the system's programs, and no kontext. */
  function onlyNode(): string {
    return `${join(process.execPath, '..')}:/usr/bin:/bin`;
  }
});

function sizeOf(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat?.isDirectory()) return stat?.size ?? 0;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}
