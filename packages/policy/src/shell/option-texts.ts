/** Variables whose value is a command that a shell or git runs. */
const commandVariables = new Set([
  ...[
    'PROMPT_COMMAND',
    'PAGER',
    'EDITOR',
    'VISUAL',
    'MANPAGER',
    'GIT_EDITOR',
    'GIT_SEQUENCE_EDITOR',
    'GIT_PAGER',
  ],
  ...['GIT_SSH_COMMAND', 'GIT_SSH', 'GIT_EXTERNAL_DIFF', 'GIT_PROXY_COMMAND', 'GIT_ASKPASS', 'SSH_ASKPASS'],
  ...['RSYNC_RSH', 'TAR_OPTIONS', 'BROWSER'],
]);

/** Whether a variable, or an element of it, holds a command. */
export const isCommandVariable = (name: string): boolean => commandVariables.has(name.split('[')[0] ?? '');

/** Options of other programs whose value is a command, alone or with the value behind it. */
const commandOptions: ReadonlyMap<string, RegExp> = new Map([
  ['sort', /^--compress-p[a-z-]*(?:=([\s\S]*))?$/],
  ['rsync', /^(?:-[A-Za-z]*e|--rsh)(?:=([\s\S]*))?$/],
  ['rg', /^--pre(?:=([\s\S]*))?$/],
  ['man', /^(?:-P|--pager)(?:=([\s\S]*))?$/],
  ...['scp', 'sftp'].map((name) => [name, /^-[A-Za-z]*S([\s\S]+)?$/] as const),
]);

/** Programs of which {@link optionTexts} knows something. */
export const programsWithTexts: readonly string[] = ['git', 'tar', 'gtar', ...commandOptions.keys()];

/**
 * Texts among the arguments of a program that it runs as commands.
 *
 * Only options whose value is a command in every case; an alias of git counts when it begins with `!`.
 */
export function optionTexts(program: string, args: readonly string[]): readonly string[] {
  if (program === 'git')
    return [...args.flatMap((_, at) => gitText(args, at) ?? []), ...subcommandText(args)];
  if (program === 'tar' || program === 'gtar') return args.flatMap((_, at) => tarText(args, at) ?? []);
  const proxies = args.flatMap((arg) => /^(?:-o)?proxycommand[= ]([\s\S]*)$/i.exec(arg)?.[1] ?? []);
  const option = commandOptions.get(program);
  const given = args.flatMap((arg, at) => {
    const match = option?.exec(arg) ?? null;
    return match === null ? [] : [match[1] ?? args[at + 1] ?? ''];
  });
  return [...given, ...(program === 'scp' || program === 'sftp' ? proxies : [])];
}

// Long names may be shortened.
const tarLong = /^--(?:to-c|use|rsh|inf|new)[a-z-]*(?:=([\s\S]*))?$/;
const tarAction = /^(?:--checkpoint-a[a-z-]*=)?exec=([\s\S]*)$/;

function tarText(args: readonly string[], at: number): string | null {
  const arg = args[at] ?? '';
  const long = tarLong.exec(arg);
  if (long !== null) return long[1] ?? args[at + 1] ?? '';
  const [, attached] = tarAction.exec(arg) ?? /^-[A-Za-eg-z]*I([\s\S]+)$/.exec(arg) ?? [];
  if (attached !== undefined) return attached;
  if (/^-[A-Za-z]*[IF]$/.test(arg)) return args[at + 1] ?? '';
  // Without a dash the values stand behind the letters, in their order: `tar xfI a.tar 'zstd -d'`.
  const before = at === 0 ? /^([A-Za-z]*)[IF][A-Za-z]*$/.exec(arg)?.[1] : undefined;
  return before === undefined ? null : (args[1 + before.replaceAll(/[^bfCFgHIKLNTVX]/g, '').length] ?? '');
}

/** Settings of git whose value is a command; that of some only behind a `!`. */
const gitSetting = new RegExp(
  `^(?:${[
    'core\\.(?:pager|editor|sshcommand|askpass|gitproxy|fsmonitor|alternaterefscommand)',
    'pager\\..*|sequence\\.editor|interactive\\.difffilter|sendemail\\.\\w*cmd|uploadpack\\.packobjectshook',
    'diff\\.external|diff\\..*\\.(?:command|textconv)|filter\\..*\\.(?:clean|smudge|process)|merge\\..*\\.driver',
    '(?:difftool|mergetool|man|browser|trailer)\\..*\\.c(?:ommand|md)|gpg\\.(?:.*\\.)?program',
    'remote\\..*\\.(?:uploadpack|receivepack)',
    '(?:alias\\.[^=]*|credential\\.(?:.*\\.)?helper|submodule\\..*\\.update)(?==!)',
  ].join('|')})=!?([\\s\\S]*)$`,
  'i',
);

function gitText(args: readonly string[], at: number): string | null {
  const [arg = '', next = ''] = args.slice(at, at + 2);
  if (arg === '-c' || arg === '--config') return gitSetting.exec(next)?.[1] ?? null;
  if (args.includes('config') && arg.includes('.')) return gitSetting.exec(`${arg}=${next}`)?.[1] ?? null;
  const [, attached] = /^(?:--exec|--extcmd|--tree-filter|--index-filter)=([\s\S]*)$/.exec(arg) ?? [];
  if (attached !== undefined) return attached;
  const [, remote] = /^ext::([\s\S]*)$/.exec(arg) ?? [];
  return remote ?? null;
}

/** `git rebase -x text`, `git submodule foreach text`, `git bisect run words`. */
function subcommandText(args: readonly string[]): readonly string[] {
  const after = (name: string): number => args.indexOf(name) + 1;
  const runs = after('bisect') > 0 ? after('run') : after('submodule') > 0 ? after('foreach') : 0;
  if (runs > 0)
    return [
      args
        .slice(runs)
        .filter((arg) => !/^--(?:recursive|quiet)$/.test(arg))
        .join(' '),
    ];
  const options = after('rebase') > 0 ? ['-x', '--exec'] : after('difftool') > 0 ? ['-x', '--extcmd'] : [];
  return args.flatMap((arg, index) => (options.includes(arg) ? [args[index + 1] ?? ''] : []));
}
