import { existsSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { scratchHome } from './scratch-home.ts';

describe('scratchHome', () => {
  it('makes private folders, passes on nothing of ours but PATH, and removes all of it', () => {
    const home = scratchHome();
    const runtimeDir = home.env.XDG_RUNTIME_DIR ?? '';

    const mode = statSync(runtimeDir).mode & 0o777;
    home.remove();

    expect(mode).toBe(0o700);
    expect(Object.keys(home.env).filter((name) => !/^(PATH|HOME|TMPDIR|LANG|XDG_.*)$/.test(name))).toEqual(
      [],
    );
    expect(existsSync(home.root)).toBe(false);
  });

  it('leaves room for a socket path of 100 bytes', () => {
    const home = scratchHome();

    const length = Buffer.byteLength(`${home.env.XDG_RUNTIME_DIR}/kontext/`);
    home.remove();

    expect(length).toBeLessThan(60);
  });
});
