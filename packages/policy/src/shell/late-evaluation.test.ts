import { expect, it } from 'vitest';
import { readBash } from './test-reader.ts';

it.each([
  // Arithmetic, indexes and prompts evaluate a value once more.
  "x='a[$(rm y)]'; ((x))",
  "x='a[$(rm y)]'; echo $((x + 1))",
  "x='a[$(rm y)]'; [[ $x -eq 1 ]]",
  "x='a[$(rm y)]' bash -c '((x))'",
  "x=$'a[\\x24(rm y)]'; echo ${HOME:x}",
  'x="a[\\$(rm y)]"; ((x))',
  "for x in 'a[`rm y`]'; do ((x)); done",
  'x=\'$(rm y)\'; echo "${x@P}"',
  "declare -i x; x='a[$(rm y)]'",
  "declare -n r='a[$(rm y)]'; echo $r",
  "let 'a[$(rm y)]=1'",
  "read 'a[$(rm y)]' <<< 1",
  "printf -v 'a[$(rm y)]' x",
  "test -v 'a[$(rm y)]'",
  "[[ -v 'a[$(rm y)]' ]]",
  "a=1; unset 'a[$(rm y)]'",
  "PS4='$(rm y)'; set -x; true",
  "ENV='$(rm y)' sh -i",
  "compgen -W '$(rm y)' x",
  // Texts that are run.
  "PROMPT_COMMAND='rm y' bash -i",
  "mapfile -C 'rm y;' -c 1 x <<< a",
  "compgen -C 'rm y' x",
  'echo "${x:-\'$(rm y)\'}"',
  "exec <<< 'rm y'; bash",
  "alias e='rm '\nalias q=y\ne q",
  'hash -p /bin/rm ls; ls y',
  "env 'BASH_FUNC_ls%%=() { rm y; }' bash -c ls",
  // Where the wrapped command begins.
  'env a.b=c rm y',
  "env -S'rm\\_y'",
  'timeout --k 2 5 rm y',
  'echo y | xargs -eI rm X',
  'echo y | xargs -iX rm X',
  'jobs -x rm y',
  'setarch -R rm y',
  'prlimit --nofile=100 rm y',
  'echo y | xargs --max-lines rm',
  'echo y | xargs --replace rm {}',
  'sudo --login rm y',
  "bash 0<<< 'rm y'",
  "f() { bash; } <<< 'rm y'; f",
  "script -c'rm y' /dev/null",
  "script --c 'rm y' /dev/null",
  "runuser -l root -c 'rm y'",
  "su --comm='rm y'",
  "sh /dev/./stdin <<< 'rm y'",
  ". //dev/fd/0 <<< 'rm y'",
  "bash /dev/fd/3 3<<'E'\nrm y\nE",
  'uv run rm y',
  'bundle exec rm y',
  "npm exec -c 'rm y'",
  'direnv exec . rm y',
  // Options and variables that hold a command.
  "tar xf t --to-command='rm y'",
  "tar cf t f --checkpoint=1 --checkpoint-action=exec='rm y'",
  "tar -I 'rm y' -cf t f",
  "git -c alias.x='!rm y' x",
  "git -c core.pager='rm y' -p log",
  "git rebase -x 'rm y' main",
  "git submodule foreach --recursive 'rm y'",
  'git bisect run rm y',
  "git clone 'ext::rm y' z",
  "GIT_EDITOR='rm y' git commit",
  "export GIT_SSH_COMMAND='rm y'",
])('lists or marks what %s runs', (text) => {
  const { commands, opaque } = readBash(text);
  const runs = commands.some(
    ({ program, args, dynamic }) => program === 'rm' && (dynamic || args[0] === 'y'),
  );
  expect(opaque.length > 0 || runs).toBe(true);
});

it.each([
  "awk '{print $(NF-1)}' f; echo $((i + 1))",
  'body=\'uses `foo`\'; gh pr create --body "$body"',
  "cat > README.md <<'EOF'\nuse `foo` and $(bar)\nEOF\nfor ((i=0;i<3;i++)); do echo $i; done",
  'while read -r f; do echo "${f%.ts}" | sed \'s/`//\'; done < list',
  "[[ $n -gt 3 ]] && grep -n '`' f",
  "printf '%s\\n' '$(x)'",
  'i=0; ((i++)); echo "${a[i]}"',
  'exec 3>log; exec 2>&1',
  'mapfile -t lines < f; echo "${#lines[@]}"',
  'jobs -l',
  "python3 - <<'E'\nimport json\nE",
  'GIT_EDITOR=true git rebase --continue',
  'git -c user.name="$n" commit -m x',
])('reads %s whole', (text) => {
  expect(readBash(text).opaque).toEqual([]);
});
