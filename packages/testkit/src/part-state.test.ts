import { afterEach, expect, it } from 'vitest';
import { partState } from './part-state.ts';

const path = process.env.PATH;
afterEach(() => {
  process.env.PATH = path;
});

it('says why a part is missing, so that a suite can be listed as skipped with the reason', () => {
  process.env.PATH = '/nonexistent';

  const state = partState('chromium');

  expect(state.available).toBe(false);
  expect(state.reason).toMatch(/^skipped: chromium: ./);
});
