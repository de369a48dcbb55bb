import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createRealPath } from './real-path.ts';

describe('the real path', () => {
  let root: string;
  beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'kontext-path-')));
    mkdirSync(join(root, 'inside/deep'), { recursive: true });
    writeFileSync(join(root, 'file'), '');
  });
  afterEach(() => {
    chmodSync(join(root, 'inside'), 0o700);
    rmSync(root, { recursive: true, force: true });
  });
  const real = (path: string) => createRealPath()(path);

  it('follows links of files and folders, relative and absolute', () => {
    symlinkSync('../file', join(root, 'inside/relative'));
    symlinkSync(join(root, 'inside'), join(root, 'absolute'));
    expect(real(join(root, 'absolute/relative'))).toBe(join(root, 'file'));
    expect(real(join(root, 'absolute/deep'))).toBe(join(root, 'inside/deep'));
  });

  it('leaves as it is what does not exist, also behind a link that leads nowhere', () => {
    symlinkSync('/nowhere/made/../later', join(root, 'dangling'));
    expect(real(join(root, 'none/at/all'))).toBe(join(root, 'none/at/all'));
    expect(real(join(root, 'dangling'))).toBe('/nowhere/later');
    expect(real(join(root, 'file/below'))).toBe(join(root, 'file/below'));
  });

  it('goes up from where a link leads, not from where it stands', () => {
    symlinkSync(join(root, 'inside/deep'), join(root, 'link'));
    symlinkSync('link/..', join(root, 'up'));
    expect(real(join(root, 'up'))).toBe(join(root, 'inside'));
  });

  it('gives up on a loop, and on a long chain', () => {
    symlinkSync('b', join(root, 'a'));
    symlinkSync('a', join(root, 'b'));
    symlinkSync('self', join(root, 'self'));
    for (let index = 0; index < 60; index += 1) symlinkSync(`c${index + 1}`, join(root, `c${index}`));
    expect([real(join(root, 'a')), real(join(root, 'self/x')), real(join(root, 'c0'))]).toEqual([
      null,
      null,
      null,
    ]);
  });

  it.skipIf(process.getuid?.() === 0)('gives up where it may not look', () => {
    chmodSync(join(root, 'inside'), 0o000);
    expect(real(join(root, 'inside/deep/x'))).toBeNull();
  });

  it.each(['/a\0b', 'relative', '', `/${'a/'.repeat(600_000)}`, `/${'x'.repeat(300)}`])(
    'gives up on a path no system takes: %#',
    (path) => {
      expect(real(path)).toBeNull();
    },
  );

  it('gives up when its time is over, and answers from what it knows', () => {
    let nowMs = 0;
    const realPath = createRealPath({ maxMs: 100, nowMs: () => nowMs });
    const known = realPath(join(root, 'file'));
    nowMs = 101;
    expect([realPath(join(root, 'file')), realPath(join(root, 'inside'))]).toEqual([known, null]);
  });

  it('never throws, whatever the path', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const path = real(`${root}/${name}`);
        expect(path === null || path.startsWith('/')).toBe(true);
      }),
    );
  });
});
