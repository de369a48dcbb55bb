import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'apps/*/src/**/*.test.ts'],
    globalSetup: ['packages/testkit/src/vitest-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 180_000,
    // A wait for something that happens in another process; on a busy machine that is not over in a second.
    expect: { poll: { timeout: 20_000, interval: 50 } },
    pool: 'forks',
    maxWorkers: 2,
  },
});
