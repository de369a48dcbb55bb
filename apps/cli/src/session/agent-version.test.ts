import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createAgentVersion } from './agent-version.ts';

describe('the version of the agent', () => {
  let root: string;
  beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'kontext-version-')));
    mkdirSync(join(root, 'package/bin'), { recursive: true });
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const asked = () => {
    try {
      return readFileSync(join(root, 'asked'), 'utf8').length;
    } catch {
      return 0;
    }
  };
  const program = (path: string, output = '2.1.330 (Claude Code)'): string => {
    const file = join(root, path);
    writeFileSync(file, `#!/bin/sh\nprintf x >> '${join(root, 'asked')}'\necho '${output}'\n`);
    chmodSync(file, 0o755);
    return file;
  };
  const of = (command: string) =>
    createAgentVersion({
      ...{ command, packageName: '@acme/agent', stateDir: join(root, 'state') },
      environment: { PATH: '/usr/bin:/bin' },
    });

  it('is that of the package around it, behind a link, and nothing is run', async () => {
    writeFileSync(join(root, 'package/package.json'), '{"name":"@acme/agent-linux-x64","version":"2.1.330"}');
    symlinkSync(program('package/bin/agent'), join(root, 'agent'));
    const version = of(join(root, 'agent'));
    expect(version.known()).toBe('2.1.330');
    await version.learn();
    expect(asked()).toBe(0);
  });

  it('is the name of the file where an installer names it so', () => {
    expect(of(program('package/2.1.331')).known()).toBe('2.1.331');
  });

  it('is asked of the program once, and then known until the file changes', async () => {
    writeFileSync(join(root, 'package/package.json'), '{"name":"another","version":"9.9.9"}');
    const command = program('package/bin/agent');
    const first = of(command);
    expect(first.known()).toBe('');
    await first.learn();
    await first.learn();
    expect([first.known(), of(command).known(), asked()]).toEqual(['2.1.330', '2.1.330', 1]);

    utimesSync(command, 1, 1);
    const changed = of(command);
    expect(changed.known()).toBe('');
    await changed.learn();
    expect([changed.known(), asked()]).toEqual(['2.1.330', 2]);
  });

  it.each([
    ['says nothing of the kind', () => program('package/bin/agent', 'usage: agent')],
    ['is not there', () => join(root, 'nothing')],
  ])('stays unknown when the program %s', async (_name, make) => {
    const version = of(make());
    await version.learn();
    expect(version.known()).toBe('');
  });

  it('stands a cache of any content', () => {
    mkdirSync(join(root, 'state'));
    for (const text of ['', '[1]', 'null', '{"a":{}}']) {
      writeFileSync(join(root, 'state/agent-versions.json'), text);
      expect(of(program('package/bin/agent')).known()).toBe('');
    }
  });
});
