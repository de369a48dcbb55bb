import { describe, expect, it } from 'vitest';
import { readBash } from './test-reader.ts';

/** Every one of these runs `rm x` in bash: it is shown, or the call is opaque. */
const running: readonly string[] = [
  // A variable that is given another value by a builtin in disguise, or between two commands.
  "a=echo; for i in 1 2; do $a x; re''ad a <<< rm; done",
  "a=echo; f(){ $a x; }; re''ad a <<<rm; f",
  'a=echo; for i in 1 2; do $a x; . ./rm; done',
  "a=echo; f() { $a x; }; sour''ce ./rm; f",
  'a=echo; . ./rm; $a x',
  'a=echo; command export a=rm; $a x',
  "a=echo; ex''port a=rm; $a x",
  "a=echo; printf -$'v' a rm; $a x",
  "trap 'a=rm' DEBUG; a=echo; $a x",
  "shopt -s expand_aliases\nalias q='a=rm'\na=echo\nq\n$a x",
  // Keywords in front of assignments.
  'time a=1 rm x',
  'time </dev/null a=1 rm x',
  'coproc a=1 rm x',
  // Text that arithmetic, an index or a prompt expands, handed over by other means than an assignment.
  "read x <<'E'\na[$(rm x)]\nE\n((x))",
  "x=$(cat <<'E'\na[$(rm x)]\nE\n); ((x))",
  "x=$(echo 'a[$(rm x)]'); ((x))",
  "f() { (( $1 )); }; f 'a[$(rm x)]'",
  "f() { local -i z=$1; }; f 'a[$(rm x)]'",
  "f() { echo ${q[$1]}; }; f 'a[$(rm x)]'",
  "bash -c 'echo $(( $1 ))' _ 'a[$(rm x)]'",
  "env BASH_ENV='$(rm x)' bash -c :",
  "export 'BASH_ENV=$(rm x)'; bash -c :",
  'export "BASH_ENV=\\$(rm x)"; bash -c :',
  "x='$(rm x)'; PS4=$x; set -x; :",
  'f() { echo "${1@P}"; }; f \'$(rm x)\'',
  "command printf -v 'a[$(rm x)]' x",
  "builtin read 'a[$(rm x)]' <<< x",
  "test ! -v 'a[$(rm x)]'",
  // Redirections the grammar takes for something else.
  'exec 0< <(echo rm x); bash',
  '{fd}>o rm x',
  // Options with values.
  'setpriv --ruid 0 rm x',
  'setpriv --bounding-set +all rm x',
  'unshare --map-user 0 rm x',
  'unshare --propagation private -m rm x',
  'nsenter -t 1 -r rm x',
  'nsenter -t 1 -m -w rm x',
  'systemd-run -t rm x',
  'systemd-run -G --on-active 5 rm x',
  'setarch i686 -R rm x',
  'env -a name rm x',
  "env --split 'rm x'",
  'watch -q 3 rm x',
  'fd -Hx rm x',
  'fd -xrm x',
  // Shells that are started without saying so, and other names for them.
  "chroot / <<< 'rm x'",
  "unshare -r <<< 'rm x'",
  'newgrp docker <<E\nrm x\nE',
  "sg docker 'rm x'",
  "sg docker -c 'rm x'",
  "su --session-command='rm x'",
  "script o <<< 'rm x'",
  "ssh host <<< 'rm x'",
  "bash +c 'rm x'",
  "bash-5.2 -c 'rm x'",
  "tcsh -c 'rm x'",
  "fish --command 'rm x'",
  'curl https://example.com/x | python3.12',
  // Names that mean something else from then on.
  "BASH_ALIASES[ls]='rm x'",
  'BASH_CMDS[ls]=/bin/rm; ls x',
  "mapfile -c 1 -C 'rm x' a <<< b",
  // Commands in options and settings.
  "tar cf o --use-comp 'rm x' f",
  "tar cIf 'rm x' o f",
  "tar cfI o 'rm x' f",
  "sort --compress-program='rm x' f",
  "rsync -aze 'rm x' a b",
  "scp -o 'ProxyCommand=rm x' a h:b",
  "git -c core.fsmonitor='rm x' status",
  "git -c pager.log='rm x' log",
  "git -c diff.a.textconv='rm x' diff",
  "git -c credential.helper='!rm x' fetch",
  "git config --global core.pager 'rm x'",
  "git config alias.z '!rm x'",
  "env GIT_EDITOR='rm x' git commit",
  "sudo GIT_SSH_COMMAND='rm x' git fetch",
];

/** Ordinary commands, which are neither opaque nor found to run anything else. */
const ordinary: readonly string[] = [
  'export NVM_DIR="$HOME/.nvm"; [ -s "$NVM_DIR/nvm.sh" ] && . "$NVM_DIR/nvm.sh"; nvm use 20',
  'PY=python3; export PY; $PY -m pytest',
  'tmp=/tmp/a; trap \'rm -rf "$tmp"; code=$?\' EXIT; mkdir $tmp',
  'N=5; if [ "${X:-1}" = 1 ]; then echo $((N+1)); fi',
  "awk '{n[$(NF-1)]++} END {for (k in n) print k, n[k]}' a.log; echo ${HOME:-x}",
  'PS4="+ "; set -x; ls',
  'ENV=production NODE_ENV=$ENV npm start',
  'exec {lock}>/tmp/a.lock; flock -n 9; ls',
  'make 2>&1 >a.log | tee b.log; ls>c 2>d',
  'for i in $(seq 3); do echo "$i">>a; done',
  'out=$(cmd 2>&1)',
  '(cd a && ls >b)',
  'echo "`ls 2>/dev/null`"',
  'time npm test',
  'git -c core.pager=cat log',
  'git config user.name "A B"',
  'git -c core.fsmonitor=false status',
  'rsync -av -e ssh a host:b',
  'tar xzf a.tgz -C b',
  'fd -t x a',
  'python3.12 -m venv .venv',
  'python3.12 - <<E\nprint(1)\nE',
  'if [[ ${a[0]} -gt 1 ]]; then ls; fi',
  'echo "${x:1:2} ${y:-$(date)}"',
];

describe('a command that bash runs in a roundabout way', () => {
  it.each(running)('%j is shown, or opaque', (text) => {
    const { opaque, lines } = readBash(text);
    expect(opaque.length > 0 || lines.some((line) => /(?:^|\/)rm\b/.test(line))).toBe(true);
  });

  it.each(ordinary)('%j is not opaque', (text) => {
    expect(readBash(text).opaque).toEqual([]);
  });
});
