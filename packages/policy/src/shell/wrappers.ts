/** How the command that a wrapper runs is found among its arguments. */
export interface WrapperSpec {
  /** Short options that take a value: `-u root`. */
  readonly shortValues: string;
  /** Those whose value stands in the same word, or is left out: `-i{}`. */
  readonly gluedValues: string;
  /** Long ones that take the next argument. */
  readonly longValues: ReadonlySet<string>;
  /** Operands in front of the command: the duration of `timeout`, the root of `chroot`. */
  readonly operands: number;
  /** `NAME=value` in front of the command. */
  readonly assignments: boolean;
  /** Options with which nothing runs, such as `command -v`. */
  readonly inert: string;
  /** Option without which nothing runs, such as `jobs -x`; empty: none is needed. */
  readonly needs: string;
}

const spec = (shortValues = '', longValues = '', more: Partial<WrapperSpec> = {}): WrapperSpec => ({
  shortValues,
  longValues: new Set(longValues === '' ? [] : longValues.split(' ').map((name) => `--${name}`)),
  gluedValues: '',
  operands: 0,
  assignments: false,
  inert: '',
  needs: '',
  ...more,
});

/** Programs that run another one, whose words follow theirs. */
export const wrappers: ReadonlyMap<string, WrapperSpec> = new Map([
  ['env', spec('uCSPa', 'unset chdir split-string argv0', { assignments: true })],
  [
    'sudo',
    spec(
      'ughpCrtTURDac',
      'user group host prompt close-from role type command-timeout other-user chroot chdir auth-type login-class',
      { assignments: true },
    ),
  ],
  ['doas', spec('uCa')],
  ['pkexec', spec('', 'user')],
  ['timeout', spec('ks', 'kill-after signal', { operands: 1 })],
  ['gtimeout', spec('ks', 'kill-after signal', { operands: 1 })],
  ['nohup', spec()],
  ['setsid', spec()],
  ['nice', spec('n', 'adjustment')],
  ['ionice', spec('cnpPu', 'class classdata pid pgid uid')],
  ['chrt', spec('TPD', '', { operands: 1 })],
  ['taskset', spec('', '', { operands: 1 })],
  ['stdbuf', spec('ioe', 'input output error')],
  ['unbuffer', spec()],
  ['caffeinate', spec('tw')],
  // A keyword of bash: assignments may stand in front of the command.
  ['time', spec('fo', 'format output', { assignments: true })],
  ['gtime', spec('fo', 'format output')],
  ['command', spec('', '', { inert: 'vV' })],
  ['builtin', spec()],
  ['exec', spec('a')],
  ['coproc', spec('', '', { assignments: true })],
  ['jobs', spec('', '', { needs: 'x' })],
  ['noglob', spec()],
  ['nocorrect', spec()],
  ['busybox', spec()],
  ['toybox', spec()],
  [
    'xargs',
    spec('InPLdEsaJRS', 'max-args max-procs delimiter max-chars arg-file process-slot-var', {
      gluedValues: 'eil',
    }),
  ],
  [
    'strace',
    spec(
      'eoEpsSuaIObPX',
      'trace output env attach string-limit summary-sort-by user columns expr interruptible',
    ),
  ],
  ['ltrace', spec('eoEpsSuaIObPXnwxlFADR', 'output')],
  ['flock', spec('wEc', 'timeout wait conflict-exit-code command', { operands: 1 })],
  ['chroot', spec('', 'userspec groups', { operands: 1 })],
  ['newgrp', spec('', '', { operands: 1 })],
  ['gosu', spec('', '', { operands: 1 })],
  ['su-exec', spec('', '', { operands: 1 })],
  ['runuser', spec('ugGcs', 'user group supp-group command shell')],
  [
    'setpriv',
    spec(
      '',
      'reuid regid ruid euid rgid egid groups inh-caps ambient-caps bounding-set securebits pdeathsig ptracer selinux-label apparmor-profile landlock-access landlock-rule seccomp-filter',
    ),
  ],
  [
    'unshare',
    spec(
      'SGRwl',
      'setuid setgid root wd propagation setgroups map-user map-group map-users map-groups monotonic boottime load-interp owner',
    ),
  ],
  ['nsenter', spec('tSGWN', 'target setuid setgid wdns net-socket', { gluedValues: 'muinpCUTrw' })],
  [
    'systemd-run',
    spec(
      'pEuHM',
      'property setenv unit slice description uid gid nice working-directory machine host background service-type on-active on-boot on-startup on-unit-active on-unit-inactive on-calendar path-property socket-property timer-property capsule job-mode',
    ),
  ],
  ['fakeroot', spec('lsib')],
  ['proxychains', spec('f')],
  ['proxychains4', spec('f')],
  ['torsocks', spec('upP')],
  ['xvfb-run', spec('nefps', 'server-num error-file server-args')],
  ['dbus-run-session', spec()],
  ['firejail', spec()],
  ['valgrind', spec()],
  ['setarch', spec()],
  // Names of machines, which `setarch` takes in front of the command.
  ...'linux32 linux64 i386 i486 i586 i686 athlon x86_64 uname26 aarch64 arm64 arm armv7l armv8l ppc ppc32 ppc64 ppc64le s390 s390x mips mips64 sparc sparc32 sparc64 ia64 alpha parisc riscv32 riscv64'
    .split(' ')
    .map((name) => [name, spec()] as const),
  ['prlimit', spec('p', 'pid output')],
  ['choom', spec('np', 'adjust pid')],
  ['numactl', spec('iNCmpP', 'interleave membind cpunodebind physcpubind preferred')],
  ['ssh-agent', spec('aEtOP')],
  ['rlwrap', spec('abcDfghHlMopPqsStwz')],
  ['bwrap', spec()],
]);

/** Where the command begins among a wrapper's arguments. */
export interface WrappedPlace {
  /** Index of its program; the number of arguments when there is none. */
  readonly start: number;
  /** Options with their values, by letter or long name: `u` → `root`, `--chdir` → `/`. */
  readonly options: ReadonlyMap<string, string>;
  /** Names assigned in front of it. */
  readonly assigns: readonly string[];
}

/** Flags that look like the beginning of an option with a value. */
const wholeFlags = new Set(['--login']);

/** Finds the command a wrapper runs. */
export function findWrapped(
  args: readonly string[],
  { shortValues, gluedValues, longValues, ...rest }: WrapperSpec,
): WrappedPlace {
  const options = new Map<string, string>();
  let at = 0;
  for (; at < args.length; at += 1) {
    const arg = args[at] ?? '';
    if (arg === '--') {
      at += 1;
      break;
    }
    if (!arg.startsWith('-') || arg === '') break;
    if (arg.startsWith('--')) {
      const equals = arg.indexOf('=');
      const name = equals < 0 ? arg : arg.slice(0, equals);
      // A long name may be shortened.
      const takesNext =
        equals < 0 && !wholeFlags.has(name) && [...longValues].some((long) => long.startsWith(name));
      options.set(name, takesNext ? (args[at + 1] ?? '') : equals < 0 ? '' : arg.slice(equals + 1));
      if (takesNext) at += 1;
      continue;
    }
    if (readCluster(arg, args[at + 1], { shortValues, gluedValues }, options)) at += 1;
  }
  const assigns: string[] = [];
  for (; rest.assignments && at < args.length; at += 1) {
    // `env` and `sudo` ask for no more of a name than a `=` behind it.
    const match = /^([^=]*)=/.exec(args[at] ?? '');
    if (match?.[1] === undefined) break;
    assigns.push(match[1]);
  }
  const inert =
    [...rest.inert].some((letter) => options.has(letter)) || (rest.needs !== '' && !options.has(rest.needs));
  return { start: inert ? args.length : Math.min(args.length, at + rest.operands), options, assigns };
}

/** Reads `-abc value`; tells whether the next argument was used up. */
function readCluster(
  arg: string,
  next: string | undefined,
  { shortValues, gluedValues }: Pick<WrapperSpec, 'shortValues' | 'gluedValues'>,
  options: Map<string, string>,
): boolean {
  for (let at = 1; at < arg.length; at += 1) {
    const letter = arg.charAt(at);
    if (gluedValues.includes(letter)) {
      options.set(letter, arg.slice(at + 1));
      return false;
    }
    if (!shortValues.includes(letter)) {
      options.set(letter, '');
      continue;
    }
    const attached = arg.slice(at + 1);
    options.set(letter, attached === '' ? (next ?? '') : attached);
    return attached === '';
  }
  return false;
}
