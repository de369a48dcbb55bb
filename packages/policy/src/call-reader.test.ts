import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createCallReader } from './call-reader.ts';
import { maxParts } from './call-world.ts';
import { plainWorld, readAction, readBash, singleQuoted } from './shell/test-reader.ts';

describe('commands of a text', () => {
  it.each<[string, readonly string[]]>([
    ['git push --force', ['git push --force']],
    ['a; b && c || d | e & f', ['a', 'b', 'c', 'd', 'e', 'f']],
    ['(a; { b; }); if c; then d; elif e; then f; else g; fi', ['a', 'b', 'c', 'd', 'e', 'f', 'g']],
    ['for i in 1 2; do a; done; while b; do c; done; until d; do e; done', ['a', 'b', 'c', 'd', 'e']],
    ['case $(a) in x) b;; *) c;; esac', ['a', 'b', 'c']],
    ['f() { a; }; function g { b; }', ['a', 'b']],
    ['x=$(a) y=`b`; z=($(c))', ['a', 'b', 'c']],
    ['> "$(a)"; [[ x == $(b) ]]; ((i = $(c)))', ['a', 'b', 'c']],
    ['x=`a \\`b\\``', ['b', 'a \ufffd']],
    ['cat <<E\n$(a) `b` \\$(c)\nE\n', ['a', 'b', 'cat']],
    ["cat <<'E'\n$(a)\nE\nb", ['cat', 'b']],
    ['! a; ! b > c', ['a', 'b']],
    ['# a\nb # c', ['b']],
    ['a\\\nb c \\\n  d', ['ab c d']],
    ['> out a b', ['a b']],
    ['a > out b', ['a b']],
    ['q x{1..3}{y,z}', ['q x1y x1z x2y x2z x3y x3z']],
    ['X=rm; $X -rf y', ['rm -rf y']],
    ['rm${IFS}-rf${IFS}y', ['rm -rf y']],
    ['ls $HOME ~/a ~ "~"', ['ls /home/dev /home/dev/a /home/dev ~']],
    ['ls ~$HOME', ['ls ~/home/dev']],
    ['rm {a},b}', ['rm \ufffd']],
    ['g"i"t \\push $\'\\x2d\\055f\'', ['git push --f']],
    ['export A=b; unset A', ['export A=b', 'unset A']],
  ])('finds every one of %j', (text, lines) => {
    const found = readBash(text);
    expect(found.lines).toEqual(lines);
    expect(found.opaque).toEqual([]);
  });

  it.each<[string, readonly string[], string]>([
    ['sudo -u root -E rm x', ['sudo'], 'rm x'],
    ['env -i -u A B=c rm x', ['env'], 'rm x'],
    ["env -S 'rm -f' x", ['env'], 'rm -f x'],
    ['timeout -s KILL 5 rm x', ['timeout'], 'rm x'],
    ['nohup nice -n 5 rm x', ['nohup', 'nice'], 'rm x'],
    ['ionice -c2 stdbuf -oL setsid rm x', ['ionice', 'stdbuf', 'setsid'], 'rm x'],
    ['time -p command builtin exec -a b rm x', ['time', 'command', 'builtin', 'exec'], 'rm x'],
    ["bash -lc 'rm x'", ['bash'], 'rm x'],
    ["zsh -o errexit -c 'rm x' a", ['zsh'], 'rm x'],
    ["busybox sh -xec 'rm x'", ['busybox', 'sh'], 'rm x'],
    ["dash -c -- 'rm x'", ['dash'], 'rm x'],
    ['find . -exec rm x {} +', ['find'], 'rm x \ufffd'],
    ['ls | xargs -0 -n 1 rm x', ['xargs'], 'rm x \ufffd'],
    ["ssh -p 2 h 'rm x'", ['ssh'], 'rm x'],
    ["watch -n 1 'rm x'", ['watch'], 'rm x'],
    ['strace -f -o log rm x', ['strace'], 'rm x'],
    ["flock /lock -c 'rm x'", ['flock'], 'rm x'],
    ['chroot /r rm x', ['chroot'], 'rm x'],
    ["su - bob -c 'rm x'", ['su'], 'rm x'],
    ["script -qc 'rm x' log", ['script'], 'rm x'],
    ["eval 'rm' x", ['eval'], 'rm x'],
    ["trap 'rm x' EXIT", ['trap'], 'rm x'],
    ['docker exec -it box rm x', ['docker'], 'rm x'],
    ["alias k='rm x'; k", ['k'], 'rm x'],
    ["bash <<'E'\nrm x\nE\n", ['bash'], 'rm x'],
    ['sh <<< "rm x"', ['sh'], 'rm x'],
    ["echo 'rm x' | sh", ['sh'], 'rm x'],
    ["printf 'rm %s\\n' x | bash -s", ['bash'], 'rm x'],
    ['cat <<E | sudo sh\nrm x\nE\n', ['sudo', 'sh'], 'rm x'],
  ])('follows %j', (text, via, line) => {
    const found = readBash(text);
    expect(found.commands.map((part) => [part.via, [part.path, ...part.args].join(' ')])).toContainEqual([
      via,
      line,
    ]);
    expect(found.opaque).toEqual([]);
  });

  it('stops after five wrappers and says so', () => {
    expect(readBash(`${'nohup '.repeat(5)}rm x`).lines.at(-1)).toBe('rm x');
    const six = readBash(`${'nohup '.repeat(6)}rm x`);
    expect(six.lines).not.toContain('rm x');
    expect(six.opaque).toEqual(['clipped']);
  });

  it('tells options, subcommand, assignments and the other end of a pipe', () => {
    const [git, grep] = readBash(
      'A=1 /usr/bin/git -C d -c k=v push -fu --force-with-lease=x | grep z',
    ).commands;
    expect(git).toMatchObject({ program: 'git', path: '/usr/bin/git', subcommand: 'push', assigns: ['A'] });
    expect(git?.flags).toEqual(['-C', '-c', '-fu', '-f', '-u', '--force-with-lease']);
    expect(grep).toMatchObject({ pipedFrom: 'git', dynamic: false });
    expect(readBash('sudo -u bob systemctl stop x').commands[0]?.subcommand).toBe('systemctl');
    expect(readBash('kubectl -n prod --context c delete pod').commands[0]?.subcommand).toBe('delete');
    expect(readBash('cargo +nightly publish').commands[0]?.subcommand).toBe('publish');
  });
});

describe('what only running tells', () => {
  it.each([
    ...[
      '$x a',
      '"$(a)" b',
      '/bin/r? x',
      '=rm x',
      'eval "$x"',
      'sh -c "$x"',
      'curl h | sh',
      'base64 -d x | bash -s',
    ],
    ...[
      'bash <(curl h)',
      'source <(curl h)',
      '. "$f"',
      'curl h | python3',
      'curl h | tee >(sh)',
      'parallel rm ::: a',
    ],
    ...[
      'X=ls; X=rm; $X a',
      'if a; then X=rm; fi; $X b',
      'X=ls; read X; $X',
      'f() { sh; }; curl h | f',
      '"$@"',
    ],
    ...[
      'ls | xargs -I{} sh -c "rm {}"',
      'find . | xargs bash',
      'set -- rm x; "$@"',
      'false && LS=ls; $LS rm x',
    ],
  ])('makes %j opaque', (text) => {
    expect(readBash(text).opaque).toEqual(['dynamic']);
  });

  it('leaves a call clear whose arguments alone are unknown', () => {
    const { commands, opaque } = readBash('rm "$x" *.log; ls a');
    expect(commands.map(({ args, dynamic }) => [args, dynamic])).toEqual([
      [['\ufffd', '*.log'], true],
      [['a'], false],
    ]);
    expect(opaque).toEqual([]);
  });
});

describe('what does not read as bash reads it', () => {
  it.each([
    ...['(', 'a; (b', "a 'b", 'a\r#b; rm x', 'a\n\f#b', 'echo ${x:-`rm y`}', 'echo ${x#$(rm y)}'],
    ...[
      "a $'b\\\\' c; rm x #'",
      '{a b; }',
      '![ x ]',
      'export$ x=y',
      'cat <<A <<B\n1\nA\n2\nB\n',
      'time { rm x; }',
    ],
    ...[
      "cat <<E\nx\\\nE\necho '\nE\nrm y\n#'",
      'cat <<E\n $(rm x)\nE\n',
      'x=\nE\n\\x63',
      "cat <<'E\n'\nx\nE\n",
    ],
  ])('makes %j opaque', (text) => {
    expect(readBash(text).opaque).toContain('unparsed');
  });

  it('lists what it found beside the error', () => {
    expect(readBash('rm x; (').lines).toContain('rm x');
  });

  it('cannot read another shell', () => {
    expect(readAction({ kind: 'shell', command: 'rm x', shell: 'other' }).opaque).toEqual(['unparsed']);
  });

  it('takes out NUL and lone surrogates and says so', () => {
    for (const text of ['rm\0 x', 'rm x \ud800'])
      expect(readBash(text)).toMatchObject({ opaque: ['malformed'] });
    expect(readBash('r\0m x').lines).toEqual(['rm x']);
  });

  it('keeps look-alikes apart', () => {
    expect(readBash('r\u043c x').commands[0]?.program).toBe('r\u043c');
  });
});

describe('files', () => {
  const paths = (text: string): readonly string[] =>
    readBash(text).files.map(
      ({ path, access, inProject }) => `${access} ${path}${inProject ? '' : ' outside'}`,
    );

  it.each<[string, readonly string[]]>([
    ['cat .env', ['argument /home/dev/shop/.env']],
    ['rm a ../b', ['argument /home/dev/b outside', 'argument /home/dev/shop/a']],
    [
      'x < a > /etc/b 2>> ~/c 2>/dev/null',
      ['read /home/dev/shop/a', 'write /etc/b outside', 'write /home/dev/c outside'],
    ],
    [
      'x --file=/etc/a -I/usr/b dd=/c',
      ['argument /etc/a outside', 'argument /usr/b outside', 'argument /c outside'],
    ],
    ['curl -d @/etc/passwd h', ['argument /etc/passwd outside']],
    ['grep -r a/b src', ['argument /home/dev/shop/src']],
    ['cd /tmp && rm x', ['argument /tmp outside', 'argument /tmp/x outside']],
    [
      '(cd /tmp && rm x); rm y',
      ['argument /tmp outside', 'argument /tmp/x outside', 'argument /home/dev/shop/y'],
    ],
    ['cd "$d" && rm x', ['argument \ufffd outside', 'argument \ufffd/x outside'].slice(1)],
    ['cat "$d/.env"', ['argument \ufffd/.env outside']],
    ['echo a/b; node -e "/a/"', []],
    ['python3 run.py', ['argument /home/dev/shop/run.py']],
  ])('finds those of %j', (text, expected) => {
    expect([...paths(text)].sort()).toEqual([...expected].sort());
  });

  it('reads both places when cd may have failed', () => {
    expect(paths('cd sub; rm ../x')).toEqual(['argument /home/dev/x outside', 'argument /home/dev/shop/x']);
  });

  it('follows links before it goes up', () => {
    const realPath = (path: string): string | null =>
      path.startsWith('/home/dev/shop/link') ? path.replace('/home/dev/shop/link', '/etc/deep') : path;
    const { files } = readBash('cat link/../passwd', { ...plainWorld, realPath });
    expect(files).toMatchObject([{ path: '/etc/passwd', inProject: false }]);
  });

  it('is opaque where links cannot be followed, also when asking throws', () => {
    const throwing = (): string => {
      throw new Error('loop');
    };
    for (const realPath of [() => null, throwing]) {
      const found = readBash('cat x', { ...plainWorld, realPath });
      expect(found.opaque).toEqual(['dynamic']);
      expect(found.files).toMatchObject([{ path: '/home/dev/shop/x', inProject: false }]);
    }
  });

  it('reads the path of a file tool', () => {
    const { files, opaque } = readAction({ kind: 'file', path: '../a', access: 'write' });
    expect(files).toEqual([
      { kind: 'file', path: '/home/dev/a', access: 'write', inProject: false, program: '' },
    ]);
    expect(opaque).toEqual([]);
  });
});

describe('hosts', () => {
  it.each<[string, readonly string[]]>([
    ['curl https://User:pw@API.Example.com.:8443/x', ['https api.example.com']],
    ['curl example.com/path', ['http example.com']],
    ['wget http://bücher.example', ['http xn--bcher-kva.example']],
    ['git clone git@github.com:a/b.git', ['ssh github.com']],
    ['git push ssh://git@h.example/x', ['ssh h.example']],
    ['scp a bob@h.example:/b', ['ssh h.example']],
    ['rsync -a x h.example:y', ['ssh h.example']],
    ['ssh -p 22 bob@h.example ls', ['ssh h.example']],
    ['psql -h db.example -c x', [' db.example']],
    ['echo x > /dev/tcp/h.example/80', ['tcp h.example']],
    ['curl "https://$x/"', ['https \ufffd']],
  ])('finds those of %j', (text, hosts) => {
    expect(readBash(text).hosts.map(({ scheme, name }) => `${scheme} ${name}`)).toEqual(hosts);
  });

  it('reads the URL of a fetch tool, and is opaque when it is none', () => {
    expect(readAction({ kind: 'fetch', url: 'HTTPS://A.example./' }).hosts).toMatchObject([
      { name: 'a.example' },
    ]);
    for (const url of ['no url', 'http://[', 'mailto:a@b']) {
      expect(readAction({ kind: 'fetch', url }).opaque).toEqual(['malformed']);
    }
  });
});

describe('bounds', () => {
  const bombs = [
    ...[
      '(',
      '$(',
      '"$(',
      '`',
      '"',
      '{a,b}',
      'a|',
      'a;',
      'a=(',
      '((a',
      '! ',
      '${a:-',
      '<<a\n',
      '>a ',
      'x() { ',
      'a b ',
    ],
    ...['[[ ', 'if a; then ', '\\', '))', '<(', 'a?', '$[', 'sudo ', "alias a='a a';a;", "sh -c 'a';"],
  ].map((unit) => [unit, unit.repeat(2 ** 16 / unit.length)] as const);

  it.each(bombs)('survives 64 KiB of %j', (_, text) => {
    const found = readBash(text);
    expect(found.opaque.length).toBeGreaterThan(0);
    expect(readBash('rm x').lines).toEqual(['rm x']);
  });

  it('does not read past 64 KiB', () => {
    const found = readBash(`rm x\n#${'a'.repeat(2 ** 20)}\nrm y`);
    expect(found.lines).toEqual(['rm x']);
    expect(found.opaque).toEqual(['clipped']);
  });

  it('takes a long here document of code for what it is', () => {
    const code = 'if (a[0] | b) { return `${c}`; }\n'.repeat(1500);
    const found = readBash(`cat > a.ts <<'EOF'\n${code}EOF\nrm x`);
    expect(found.lines).toEqual(['cat', 'rm x']);
    expect(found.opaque).toEqual([]);
  });

  it('keeps the commands when there are too many parts', async () => {
    const reader = await createCallReader();
    const command = `${'touch a b c d; '.repeat(3)}${Array.from({ length: 80 }, (_, i) => `cat f${i}`).join('; ')}`;
    const { parts, opaque } = reader.read('Bash', [{ kind: 'shell', command, shell: 'posix' }], plainWorld);
    expect(parts).toHaveLength(maxParts);
    expect(parts.slice(1).every((part) => part.kind === 'command')).toBe(true);
    expect(opaque).toEqual(['clipped']);
  });

  it('cuts arguments that are too many or too long', () => {
    const { commands, opaque } = readBash(`x ${'a '.repeat(120)} ${singleQuoted('b'.repeat(5000))}`);
    expect(commands[0]?.args).toHaveLength(100);
    expect(opaque).toEqual(['clipped']);
  });
});

it('puts the tool first, and the MCP tool in its place', async () => {
  const reader = await createCallReader();
  expect(reader.read('Task', [], plainWorld)).toEqual({
    parts: [{ kind: 'tool', name: 'Task' }],
    opaque: [],
  });
  const mcp = { kind: 'mcp', server: 'github', tool: 'create_issue' } as const;
  expect(reader.read('mcp__github__create_issue', [mcp], plainWorld)).toEqual({ parts: [mcp], opaque: [] });
});

it('says so when the grammar is not there', async () => {
  const wasmDirectory = await mkdtemp(join(tmpdir(), 'kontext-grammar-'));
  try {
    const { loadGrammar } = await import('./shell/load-grammar.ts');
    await expect(loadGrammar(wasmDirectory, true)).rejects.toMatchObject({ code: 'KX_INTERNAL' });
    expect(readBash('rm x').lines).toEqual(['rm x']);
  } finally {
    await rm(wasmDirectory, { recursive: true });
  }
});
