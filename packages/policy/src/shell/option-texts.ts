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

/**
 * Texts among the arguments of tar and git that these run as commands.
 *
 * Only options whose value is a command in every case; an alias of git counts when it begins with `!`.
 */
export function optionTexts(program: string, args: readonly string[]): readonly string[] {
  const one = program === 'git' ? gitText : program === 'tar' || program === 'gtar' ? tarText : null;
  if (one === null) return [];
  const texts = args.flatMap((arg, index) => one(arg, args[index + 1] ?? '') ?? []);
  return program === 'git' ? [...texts, ...subcommandText(args)] : texts;
}

function tarText(arg: string, next: string): string | null {
  const [, attached] =
    /^--(?:to-command|use-compress-program|rsh-command|info-script|new-volume-script)=([\s\S]*)$/.exec(arg) ??
    /^(?:--checkpoint-action=)?exec=([\s\S]*)$/.exec(arg) ??
    [];
  if (attached !== undefined) return attached;
  const isOption = /^--(?:to-command|use-compress-program|rsh-command|info-script|new-volume-script)$/.test(
    arg,
  );
  return isOption || /^-[A-Za-z]*[IF]$/.test(arg) ? next : null;
}

function gitText(arg: string, next: string): string | null {
  if (arg === '-c') {
    const [, value] =
      /^(?:core\.(?:pager|editor|sshcommand|askpass|gitproxy)|sequence\.editor|diff\.external|alias\.[^=]*(?==!))=!?([\s\S]*)$/i.exec(
        next,
      ) ?? [];
    return value ?? null;
  }
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
