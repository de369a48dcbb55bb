import { describe, expect, it } from 'vitest';
import { type ErrorCode, errorTable, formatError, isErrorCode, KontextError } from './index.ts';

const rows = Object.entries(errorTable) as [ErrorCode, (typeof errorTable)[ErrorCode]][];

describe('error table', () => {
  it.each(rows)('%s says what and what next in lower case without a full stop', (code, spec) => {
    expect(code).toMatch(/^KX_[A-Z0-9_]+$/);
    for (const text of [spec.summary, spec.hint]) expect(text).not.toMatch(/\.$|^[A-Z][a-z]/);
  });

  it('keeps exit code 2 for kontext hook alone', () => {
    expect(rows.filter(([, spec]) => (spec.exitCode as number) === 2)).toEqual([]);
  });

  it('knows its own codes and no inherited names', () => {
    expect(isErrorCode('KX_USAGE')).toBe(true);
    expect(isErrorCode('toString')).toBe(false);
  });
});

describe('formatError', () => {
  it('prints three lines: what, why with the code, next', () => {
    const error = new KontextError('KX_CONNECTION_MISSING', 'github is not connected', {
      why: 'the backend holds no GitHub connection for dev@example.com',
      hint: 'run `kontext connect github`, then `kontext start` again',
    });
    expect(formatError(error).split('\n')).toEqual([
      'kontext: error: github is not connected',
      'kontext: why: the backend holds no GitHub connection for dev@example.com (KX_CONNECTION_MISSING)',
      'kontext: next: run `kontext connect github`, then `kontext start` again',
    ]);
  });

  it('never shows the text of a foreign error', () => {
    expect(formatError(new Error('token=hunter2'))).not.toContain('hunter2');
  });

  it('makes control and bidi characters visible', () => {
    const shown = formatError(new KontextError('KX_USAGE', 'bad\u001b[31m\u202ename'));
    expect(shown).toContain('bad\\u001b[31m\\u202ename');
  });
});
