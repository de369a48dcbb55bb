import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFileStore, fileStorePath } from '../login/file-store.ts';
import { loadLogin } from '../login/load-login.ts';
import { createTestContext, type TestContext } from '../test-context.ts';
import { logOut } from './logout.ts';

let context: TestContext;
let path: string;
beforeEach(() => {
  context = createTestContext();
  path = fileStorePath(context.config.configDir, context.config.apiUrl);
});
afterEach(() => context.close());

describe('a login file that cannot be understood', () => {
  it.each(['', '{"v":1,', '{"v":2,"value":"x"}', '[]'])(
    '%j is named so, and goes with the logout its error names',
    async (text) => {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
      const store = createFileStore(context.config.configDir);
      await expect(loadLogin(context.config, store)).rejects.toMatchObject({
        code: 'KX_KEYRING_ITEM_INVALID',
      });
      expect(await logOut(context)).toBe(0);
      expect(existsSync(path)).toBe(false);
    },
  );
});
