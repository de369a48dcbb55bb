import { readFileSync } from 'node:fs';
import { test } from 'vitest';
import { createCallReader } from '/work/main/packages/policy/src/call-reader.ts';

test('x', async () => {
  const r = await createCallReader();
  const world = {
    cwd: '/home/dev/shop',
    home: '/home/dev',
    projectRoot: '/home/dev/shop',
    realPath: (p: string) => p,
  };
  for (const c of readFileSync('/tmp/kx/s/cmds.txt', 'utf8').split('\n%%\n')) {
    const { parts, opaque } = r.read('Bash', [{ kind: 'shell', command: c, shell: 'posix' }], world);
    process.stdout.write(`>>> ${c}\n   opaque=${opaque}\n`);
    for (const p of parts.slice(1))
      process.stdout.write(
        '   ' +
          (p.kind === 'command'
            ? `C ${p.program}${p.path !== p.program ? `(${p.path})` : ''} ${JSON.stringify(p.args)} sub=${p.subcommand} flags=${p.flags} as=${p.assigns} via=${p.via} pf=${p.pipedFrom} ${p.dynamic ? 'DYN' : ''}`
            : p.kind === 'file'
              ? `F ${p.access} ${p.path} in=${p.inProject} ${p.program}`
              : p.kind === 'host'
                ? `H ${p.scheme} ${p.name} ${p.program}`
                : JSON.stringify(p)) +
          '\n',
      );
  }
});
