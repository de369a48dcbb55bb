/**
 * What is known of programs: small tables, each a help for rules and never a wall. A program that is missing here is still
 * a part, with all of its arguments.
 */

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));

/** Programs that run the text of their `-c`, or their input, as shell commands. */
export const shells = words(
  'sh bash zsh dash ksh mksh oksh ash rbash busybox-sh fish yash posh osh csh tcsh elvish nu xonsh',
);

/** A program without the version in its name: `python` for `python3.12`. */
export const familyOf = (program: string): string => program.replace(/-?\d+(?:\.\d+)*$/, '') || program;

/** Programs that run their input as a program when they are given none. */
export const inputInterpreters = words(
  'python pypy ipython node nodejs deno bun perl ruby php lua luajit tclsh osascript Rscript julia pwsh',
);

/** Programs whose every operand is a file or a folder. */
export const fileOperandPrograms = words(
  [
    'cat tac nl head tail less more bat od xxd hexdump strings base64 base32 wc sort uniq cut paste tee split',
    'rm rmdir unlink shred srm trash cp mv ln install mkdir mkfifo mknod touch truncate stat file readlink realpath',
    'ls ll dir tree du cmp diff comm md5sum sha1sum sha256sum sha512sum shasum cksum',
    'vi vim nvim nano emacs ed code open xdg-open source . gzip gunzip bzip2 bunzip2 xz unxz zstd zip unzip tar',
    'script sha512 rsync scp mount umount wipefs fdisk mkfs blkdiscard chattr setfacl getfacl visudo sudoedit crontab',
  ].join(' '),
);

/** Programs whose first operand is no file (a mode, an owner, a pattern, a script) and the others are. */
export const fileOperandsAfterFirst = words(
  'chmod chown chgrp grep egrep fgrep zgrep rg ag ack sed gsed awk gawk mawk jq yq',
);

/** Options that take the place of that first operand. */
export const firstOperandOptions = words('-e -f -E --expression --file --regexp --reference --from-file');

/** Programs whose arguments are text. */
export const textPrograms = words(
  'echo printf : true false export declare typeset local readonly unset alias unalias tr expr',
);

/** Programs that talk to their first operand, with the scheme. */
export const hostOperandPrograms: ReadonlyMap<string, string> = new Map([
  ...(['ssh', 'mosh', 'sftp', 'telnet', 'ftp', 'ping', 'dig'] as const).map((name) => [name, name] as const),
  ...(['nc', 'ncat', 'netcat', 'socat'] as const).map((name) => [name, 'tcp'] as const),
  ...(['nslookup', 'host', 'ping6', 'traceroute', 'whois', 'nmap'] as const).map(
    (name) => [name, ''] as const,
  ),
]);

/** Programs that take `host:path`. */
export const remotePathPrograms = words('scp rsync sftp git hg');

/** Programs that take a URL without a scheme. */
export const bareUrlPrograms = words('curl wget http https xh httpie aria2c lynx');

/** Clients of databases and the like, with the options that name the host. */
export const hostOptions: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  (
    [
      ['psql pg_dump pg_dumpall pg_restore createdb dropdb', '-h --host'],
      ['mysql mysqldump mysqladmin mariadb', '-h --host'],
      ['redis-cli', '-h'],
      ['mongo mongosh mongodump', '--host'],
      ['ldapsearch', '-h -H'],
      ['kubectl', '-s --server'],
      ['docker podman', '-H --host'],
    ] as const
  ).flatMap(([names, options]) => names.split(' ').map((name) => [name, words(options)] as const)),
);

/**
 * Options of a program that take the next argument as their value, in front of the subcommand or anywhere: their value is
 * no subcommand. A letter stands for `-x`.
 */
export const valueOptions: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  (
    [
      [
        'git',
        '-C -c --git-dir --work-tree --namespace --exec-path --config-env --super-prefix --attr-source',
      ],
      [
        'kubectl oc k',
        '-n --namespace --context --cluster --user --kubeconfig -s --server --token --as --as-group --as-uid --request-timeout -v --cache-dir --certificate-authority --client-certificate --client-key --tls-server-name --profile --profile-output --password --username',
      ],
      [
        'helm',
        '-n --namespace --kube-context --kubeconfig --kube-apiserver --kube-token --kube-as-user --kube-as-group --kube-ca-file --registry-config --repository-cache --repository-config --burst-limit --qps',
      ],
      [
        'docker podman nerdctl',
        '-c --context -H --host --config -l --log-level --tlscacert --tlscert --tlskey --connection --url --root --runroot',
      ],
      [
        'docker-compose',
        '-f --file -p --project-name --profile --env-file --project-directory --ansi --parallel --context -c -H --host',
      ],
      [
        'npm pnpm',
        '--prefix -C --dir --registry -w --workspace --userconfig --globalconfig --cache --loglevel --filter -F --tag --otp',
      ],
      ['yarn', '--cwd --registry --cache-folder --modules-folder'],
      [
        'aws',
        '--profile --region --output --endpoint-url --query --color --ca-bundle --cli-read-timeout --cli-connect-timeout --cli-binary-format',
      ],
      ['gh', '-R --repo --hostname'],
      ['glab', '-R --repo -g --group'],
      ['cargo', '--color --config -Z -C --manifest-path --target-dir -p --package'],
      ['go', '-C'],
      [
        'systemctl',
        '-H --host -M --machine -t --type -p --property -s --signal -o --output -n --lines --root --kill-whom --job-mode',
      ],
      [
        'gcloud',
        '--project --account --configuration --region --zone --format --impersonate-service-account --verbosity --billing-project --flags-file --access-token-file',
      ],
      ['gsutil', '-o -h -u -i'],
      ['bq', '--project_id --dataset_id --location --format --api'],
      ['az', '--subscription -o --output --query --resource-group -g'],
      ['terraform tofu', '-chdir'],
      ['terragrunt', '--terragrunt-working-dir --terragrunt-config --working-dir'],
      ['pulumi', '-C --cwd -s --stack --color --config-file'],
      [
        'ansible ansible-playbook',
        '-i --inventory -l --limit -u --user -e --extra-vars -t --tags -f --forks --private-key --vault-password-file -m -a -M',
      ],
      ['make gmake', '-C -f -I -o -W -j -l --directory --file --makefile --include-dir --jobs'],
      [
        'pip pip3 uv poetry',
        '--proxy --cache-dir --log --timeout --retries --index-url -i --python -C --directory --project -P',
      ],
      ['apt apt-get', '-o -c -t --target-release --config-file --option'],
      [
        'claude',
        '--model --settings --permission-mode --allowedTools --disallowedTools --add-dir --mcp-config --append-system-prompt --system-prompt --agents --session-id --max-turns --output-format --input-format --fallback-model -r --resume --setting-sources --plugin-dir',
      ],
      ['kontext', '--api-url --config --org'],
      ['vault', '-address -namespace'],
      ['flyctl fly', '-a --app -c --config -o --org -t --access-token'],
      ['heroku', '-a --app -r --remote'],
      ['vercel', '--cwd --token -t --scope -S -A --local-config -Q --global-config'],
      ['stripe', '--api-key --project-name -p --config --color --log-level --device-name'],
      ['supabase', '--workdir --profile --network-id -o --output'],
      ['mysql mariadb mysqladmin', '-h --host -u --user -P --port -D --database -e --execute -S --socket'],
      [
        'psql',
        '-h --host -U --username -p --port -d --dbname -c --command -f --file -v --set --variable -o --output -L --log-file -F -R -T -P',
      ],
      ['redis-cli', '-h -p -a -n -u -s --user --pass -r -i'],
      ['tmux screen', '-L -S -f -c'],
      ['sh bash zsh dash ksh ash', '-c -lc -ic -ec -xc -lic -exc -euc -o -O --rcfile --init-file'],
      ['python python2 python3', '-c -m -W -X'],
      ['node nodejs bun deno', '-e -p -r --eval --print --require --import --loader'],
      ['perl ruby php', '-e -E -I -r'],
      ['chmod chown chgrp', '--reference'],
    ] as const
  ).flatMap(([names, options]) => names.split(' ').map((name) => [name, words(options)] as const)),
);

/** Words the grammar of bash reserves; at the place of a program they come from a text that was misread. */
export const reservedWords = words(
  '{ } ! if then elif else fi do done while until for case esac in function select [[ ]]',
);

/** Builtins that give variables a value; after one of them no variable is known. */
export const assigningBuiltins = words(
  'read mapfile readarray getopts let unset declare typeset local readonly eval source . builtin enable wait coproc printf-v vared zparseopts',
);
