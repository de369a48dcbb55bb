import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countMissedHooks } from './missed-hooks.ts';

describe('missed hooks', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kontext-missed-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('are counted by event', () => {
    const file = join(folder, 's.missed');
    const line = (event: string) => `2026-01-01T00:00:00.000Z claude ${event} no answer in time\n`;
    writeFileSync(file, line('PreToolUse') + line('Stop') + line('PreToolUse'));
    expect([...countMissedHooks(file)]).toEqual([
      ['PreToolUse', 2],
      ['Stop', 1],
    ]);
  });

  it('are none where there is no file, or nothing readable in it', () => {
    expect(countMissedHooks(join(folder, 'none')).size).toBe(0);
    writeFileSync(join(folder, 'odd'), '\n\n x\n');
    expect(countMissedHooks(join(folder, 'odd')).size).toBe(0);
  });
});
