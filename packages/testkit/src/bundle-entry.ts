import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Turns a TypeScript entry of this package into a file that plain Node can run, for parts that are processes of their own.
 *
 * The file is kept under `node_modules/.cache`, from where bare imports still resolve; its name carries a hash of its
 * content, so that parallel workers may write it at the same time.
 *
 * @param entry `file:` URL of the entry's source.
 * @param name First part of the file's name.
 * @returns Absolute path of the bundle.
 */
export async function bundleEntry(entry: URL, name: string): Promise<string> {
  const { build } = await import('esbuild');
  const result = await build({
    entryPoints: [fileURLToPath(entry)],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'silent',
  });
  const text = result.outputFiles[0]?.text ?? '';
  const folder = fileURLToPath(new URL('../../../node_modules/.cache/kontext/', import.meta.url));
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const path = join(folder, `${name}-${hash}.mjs`);
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${path}.${process.pid}`, text);
    renameSync(`${path}.${process.pid}`, path);
  }
  return path;
}
