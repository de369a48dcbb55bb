import type { SourceFile } from './parse-sources.ts';

/** The files of `policies/` as they are written, generated from them: a bundle has no file to read. */
export const starterSources: readonly SourceFile[] = [
  {
    name: 'opaque.cedar',
    text: `// Calls that cannot be read whole: too long, malformed, a command that does not parse, or one that only running tells
// (eval "$x", curl … | sh). They may hide anything from the other rules.

// The tools that write files are let through when only the end of a long text is missing: the path comes first, and long
// files are ordinary.
@id("starter.opaque-call")
@reason("it cannot be read whole; write the command out, or split it into smaller calls")
forbid (principal, action == Action::"tool_call", resource)
when { context.opaque }
unless {
  context.opaqueCauses == ["clipped"] &&
  ["Write", "Edit", "MultiEdit", "NotebookEdit"].contains(context.tool)
};

// Code on a command line of an interpreter that starts programs, deletes files or names secrets. Its text is looked at, no more: a
// language is not parsed, and whoever wants to hide a call in it can. See docs/policy.md, "What policy cannot see".
@id("starter.inline-code")
@effect("ask")
@reason("it is inline code that starts programs, deletes files or names secrets; run commands, which can be judged")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
  [
    Command::"python", Command::"python2", Command::"python3", Command::"pypy", Command::"pypy3", Command::"ipython", Command::"luajit",
    Command::"julia", Command::"node", Command::"nodejs",
    Command::"bun", Command::"deno", Command::"perl", Command::"ruby", Command::"php", Command::"lua", Command::"osascript",
    Command::"awk", Command::"gawk", Command::"mawk", Command::"tclsh", Command::"Rscript"
  ].contains(resource) ||
  // With a version in the name.
  resource.path like "*python3.*" || resource.path like "*pypy3.*" || resource.path like "*perl5.*" || resource.path like "*ruby2.*" ||
  resource.path like "*ruby3.*" || resource.path like "*php7.*" || resource.path like "*php8.*" || resource.path like "*lua5.*"
  ) &&
  (
    resource.line like "*os.system*" ||
    resource.line like "*subprocess*" ||
    resource.line like "*popen*" ||
    resource.line like "*Popen*" ||
    resource.line like "*os.exec*" ||
    resource.line like "*os.spawn*" ||
    resource.line like "*os.remove*" ||
    resource.line like "*unlink*" ||
    resource.line like "*rmtree*" ||
    resource.line like "*child_process*" ||
    resource.line like "*execSync*" ||
    resource.line like "*spawnSync*" ||
    resource.line like "*rmSync*" ||
    resource.line like "*fs.rm*" ||
    resource.line like "*.rm(*" ||
    resource.line like "*rmdirSync*" ||
    resource.line like "*Deno.Command*" ||
    resource.line like "*Bun.spawn*" ||
    resource.line like "*system(*" ||
    resource.line like "*system \\"*" ||
    resource.line like "*system '*" ||
    resource.line like "*exec(*" ||
    resource.line like "*exec \\"*" ||
    resource.line like "*shell_exec*" ||
    resource.line like "*passthru*" ||
    resource.line like "*FileUtils.rm*" ||
    resource.line like "*do shell script*" ||
    resource.line like "*rm -rf*" ||
    resource.line like "*rm -fr*" ||
    resource.line like "*pty.spawn*" ||
    resource.line like "*__import__*" ||
    resource.line like "*b64decode*" ||
    // Files of secrets and of agents' settings.
    resource.line like "*.env'*" ||
    resource.line like "*.env\\"*" ||
    resource.line like "*/.ssh*" ||
    resource.line like "*.claude*" ||
    resource.line like "*/proc/*environ*" ||
    resource.line like "*fromCharCode*" ||
    resource.line like "*spawn_sync*" ||
    // Backquotes and their kin.
    (
      (resource.path like "*perl*" || resource.path like "*ruby*" || resource.path like "*php*" || resource.path like "*julia*") &&
      (
        resource.line like "*\`*\`*" || resource.line like "*qx(*" || resource.line like "*qx{*" || resource.line like "*qx/*" ||
        resource.line like "*%x(*" || resource.line like "*%x{*" || resource.line like "*|\\")*" || resource.line like "*|')*" ||
        resource.line like "*-|*" || resource.line like "*\\"|-*" || resource.line like "*'|-*"
      )
    ) ||
    // A pipe of awk. One to sort is what everybody writes.
    (
      [Command::"awk", Command::"gawk", Command::"mawk"].contains(resource) &&
      (
        resource.line like "*| getline*" || resource.line like "*|getline*" || resource.line like "*|&*" ||
        ((resource.line like "*| \\"*" || resource.line like "*|\\"*") && !(resource.line like "*\\"sort*"))
      )
    )
  )
};
`,
  },
  {
    name: 'destructive.cedar',
    text: `// Destructive commands: what cannot be taken back. Work inside the project and in temporary directories stays free,
// because a repository brings it back; everything else has to be done by the user.

// Deleting files outside the project. Every operand of these programs is a file of its own, links followed.
@id("starter.destructive-delete")
@reason("it deletes files outside the project or the repository's own data; ask the user to do it")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  (
    ["rm", "unlink", "shred", "srm", "wipe", "rimraf", "del-cli"].contains(resource.program) ||
    (["npx", "bunx", "pnpm", "npm", "yarn"].contains(resource.program) && (context.command like "*rimraf*" || context.command like "* rm *"))
  ) &&
  (
    // The history of the repository, but not a lock that a crash left behind.
    ((resource.name == ".git" || resource.path like "*/.git/*") && !(resource.name like "*.lock")) ||
    // A pattern that meets it.
    [".g*", ".gi*", ".git*", ".gi?", ".g?t", ".?it", ".g??", ".???", ".*it", ".*t", "*.git", "?git", ".[g]it", ".g[i]t", ".gi[t]"]
      .contains(resource.name) ||
    // The directory where the agent works, and all that is in it.
    resource.path == context.cwd ||
    (
      !resource.inProject &&
      // Known only when it runs: the rule about that asks.
      !(resource.path like "*\\u{fffd}*") &&
      !(resource.path like "*/.cache/*") &&
      !(
        // Scratch files, each by its name: not "/tmp" itself and not "/tmp/*".
        (
          resource.path like "/tmp/*" ||
          resource.path like "/private/tmp/*" ||
          resource.path like "/var/tmp/*" ||
          resource.path like "/var/folders/*" ||
          resource.path like "/private/var/folders/*" ||
          resource.path like "/dev/shm/*"
        ) &&
        !(resource.path like "/tmp/\\**") &&
        !(resource.path like "/private/tmp/\\**") &&
        !(resource.path like "/var/tmp/\\**")
      )
    )
  )
};

// The same said without a name: where "*" lies depends on a "cd" that may have failed.
@id("starter.destructive-delete-all")
@reason("it deletes a whole directory without naming it; name what you mean")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  [Command::"rm", Command::"rimraf", Command::"shred"].contains(resource) &&
  (
    resource.args.containsAny(["/", "/*", "/.", "//", ".", "./", "..", "../"]) ||
    resource.flags.contains("--no-preserve-root") ||
    (
      resource.flags.containsAny(["-r", "-R", "--recursive"]) &&
      resource.args.containsAny(["*", "./*", ".*", "./.*", "../*", "*/"])
    )
  )
};

// What is deleted is only known when it runs: rm -rf "$DIR/". A directory that mktemp has just made is fine, and what find
// meets is judged by the rules about find.
@id("starter.destructive-delete-unknown")
@effect("ask")
@reason("it deletes recursively what only running tells; write the path out, or have it approved")
forbid (principal, action == Action::"tool_call", resource == Command::"rm")
when {
  (resource.line like "*\\u{fffd}*" || resource.via.contains("xargs")) &&
  resource.flags.containsAny(["-r", "-R", "--recursive"]) &&
  !context.programs.containsAny(["mktemp", "find", "fd"])
};

// find … -delete without saying what, or from outside the project.
@id("starter.destructive-find")
@reason("it deletes all that find meets; say which files by -name or -path, and stay inside the project")
forbid (principal, action == Action::"tool_call", resource == Command::"find")
when {
  resource.args.containsAny(["-delete", "-exec", "-execdir", "-ok", "-okdir"]) &&
  (
    resource.args.contains("-delete") ||
    resource.args.containsAny(["rm", "/bin/rm", "/usr/bin/rm", "shred", "unlink"])
  ) &&
  (
    resource.args.containsAny(["/", "/*", "..", "../", "/home", "/Users", "/etc", "/usr", "/var", "/opt", "/root"]) ||
    !resource.args.containsAny([
      "-name", "-iname", "-path", "-ipath", "-wholename", "-regex", "-iregex", "-empty", "-newer", "-mtime", "-mmin",
      "-atime", "-amin", "-ctime", "-cmin", "-size"
    ])
  )
};
@id("starter.destructive-find-outside")
@reason("it deletes what find meets outside the project; ask the user to do it")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  ["find", "gfind", "fd", "fdfind"].contains(resource.program) &&
  !resource.inProject &&
  !(resource.path like "/tmp/*") &&
  !(resource.path like "/private/tmp/*") &&
  !(resource.path like "/var/tmp/*") &&
  !(resource.path like "/var/folders/*") &&
  (context.command like "*-delete*" || context.programs.containsAny(["rm", "shred", "unlink"]))
};

// Disks and partitions.
@id("starter.destructive-disk")
@reason("it overwrites or formats a disk; only the user may do that")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  resource.line like "mkfs*" ||
  resource.line like "*/mkfs*" && resource.path like "*/mkfs*" ||
  [
    Command::"mke2fs", Command::"wipefs", Command::"fdisk", Command::"sfdisk", Command::"gdisk", Command::"sgdisk",
    Command::"parted", Command::"blkdiscard", Command::"mkswap", Command::"cryptsetup", Command::"zpool",
    Command::"lvremove", Command::"vgremove", Command::"pvremove", Command::"newfs", Command::"format"
  ].contains(resource) ||
  (
    resource == Command::"dd" &&
    resource.line like "*of=/dev/*" &&
    !(resource.line like "*of=/dev/null*") &&
    !(resource.line like "*of=/dev/stdout*")
  ) ||
  (
    resource == Command::"diskutil" &&
    resource.subcommand like "*rase*" || resource == Command::"diskutil" && resource.subcommand like "*artition*"
  )
};
@id("starter.destructive-device")
@reason("it writes to a disk or to kernel memory past the file system; only the user may do that")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  (
    resource.path like "/dev/sd*" ||
    resource.path like "/dev/hd*" ||
    resource.path like "/dev/vd*" ||
    resource.path like "/dev/xvd*" ||
    resource.path like "/dev/nvme*" ||
    resource.path like "/dev/mmcblk*" ||
    resource.path like "/dev/disk*" ||
    resource.path like "/dev/rdisk*" ||
    resource.path like "/dev/mapper/*" ||
    resource.path == "/dev/mem" ||
    resource.path == "/dev/kmem" ||
    resource.path == "/proc/sysrq-trigger"
  ) &&
  (resource.access == "write" || !["ls", "lsblk", "stat", "df", "test", "[", "smartctl", "file", "echo"].contains(resource.program))
};

// Emptying files outside the project.
@id("starter.destructive-overwrite")
@reason("it empties or overwrites files outside the project; ask the user to do it")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  resource.program == "truncate" &&
  !resource.inProject &&
  !(resource.path like "/tmp/*") &&
  !(resource.path like "/private/tmp/*") &&
  !(resource.path like "/var/folders/*")
};

// Rights of everything at once.
@id("starter.destructive-permissions")
@reason("it changes owner or rights of whole trees outside the project, or opens them to everybody")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  [Command::"chmod", Command::"chown", Command::"chgrp", Command::"setfacl"].contains(resource) &&
  resource.flags.containsAny(["-R", "--recursive"]) &&
  (
    resource.args.containsAny(["/", "/*", "..", "../", "/etc", "/usr", "/var", "/home", "/Users", "/opt", "/root"]) ||
    resource.args.containsAny(["777", "0777", "a+rwx", "a=rwx", "ugo+rwx", "+rwx", "666", "0666", "000", "a+w", "o+w"])
  )
};

// What git keeps no copy of: files it does not track, and changes nobody committed.
@id("starter.destructive-git")
@effect("ask")
@reason("it throws away files or changes of which git keeps no copy")
forbid (principal, action == Action::"tool_call", resource == Command::"git")
when {
  (
    resource.subcommand == "clean" &&
    (
      resource.flags.containsAny(["-f", "--force", "-x", "-X"]) ||
      resource.line like "*clean.requireForce=*" || resource.line like "*clean.requireforce=*"
    ) &&
    !resource.flags.containsAny(["-n", "--dry-run"])
  ) ||
  (resource.subcommand == "stash" && resource.args.contains("clear")) ||
  (resource.subcommand == "worktree" && resource.args.contains("remove") && resource.flags.containsAny(["-f", "--force"]))
};

// Containers, images and the data in volumes.
@id("starter.destructive-containers")
@effect("ask")
@reason("it deletes containers, images or the data in volumes that other work may need")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  [
    Command::"docker", Command::"podman", Command::"nerdctl", Command::"docker-compose", Command::"podman-compose"
  ].contains(resource) &&
  (
    resource.args.contains("prune") ||
    (resource.args.contains("volume") && resource.args.containsAny(["rm", "remove"])) ||
    (resource.args.contains("system") && resource.args.contains("reset")) ||
    (resource.args.contains("down") && resource.flags.containsAny(["-v", "--volumes", "--rmi"]))
  )
};

// Containers that reach the machine around them.
@id("starter.container-host")
@effect("ask")
@reason("it starts a container that can change the machine around it")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  [Command::"docker", Command::"podman", Command::"nerdctl"].contains(resource) &&
  (
    resource.flags.contains("--privileged") ||
    resource.line like "* /:/*" ||
    resource.line like "*=/:/*" ||
    resource.line like "*source=/,*" ||
    resource.line like "*src=/,*" ||
    resource.line like "*docker.sock*" ||
    resource.line like "*--pid=host*" ||
    resource.line like "*--pid host*" ||
    resource.line like "*SYS_ADMIN*" ||
    resource.line like "*--cap-add=ALL*" ||
    resource.line like "*--cap-add ALL*"
  )
};

// The machine itself.
@id("starter.destructive-machine")
@reason("it stops the machine, all of its processes or its scheduled jobs; only the user may do that")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  [
    Command::"shutdown", Command::"reboot", Command::"halt", Command::"poweroff", Command::"telinit"
  ].contains(resource) ||
  (resource == Command::"init" && resource.args.containsAny(["0", "6"])) ||
  (
    resource == Command::"systemctl" &&
    ["poweroff", "reboot", "halt", "suspend", "hibernate", "kexec", "rescue", "emergency"].contains(resource.subcommand)
  ) ||
  (resource == Command::"kill" && resource.args.contains("-1") && resource.line like "* -1") ||
  ([Command::"pkill", Command::"killall", Command::"killall5"].contains(resource) &&
    (resource == Command::"killall5" || resource.flags.contains("-u"))) ||
  (resource == Command::"crontab" && resource.flags.contains("-r"))
};

// What lives on a forge.
@id("starter.destructive-repository")
@reason("it deletes, archives or opens up a whole repository; only the user may do that")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  [Command::"gh", Command::"glab"].contains(resource) &&
  (
    (
      resource.args.containsAny(["repo", "project"]) &&
      (resource.args.containsAny(["delete", "archive", "transfer"]) || resource.flags.contains("--visibility"))
    ) ||
    (
      resource.subcommand == "api" &&
      resource.args.containsAny(["DELETE", "-XDELETE", "--method=DELETE", "delete", "-Xdelete", "--method=delete"])
    )
  )
};
`,
  },
  {
    name: 'secrets.cedar',
    text: `// Files with secrets, and the stores that keys lie in. An agent uses what its session was given; it has no need to read
// where the developer keeps the rest. Each rule holds for file tools, redirections, and files that a command names.

// .env and its kin, to be read. Writing one, and .env.kontext, which holds no secrets, stay free.
@id("starter.secret-env-file")
@reason("it reads a file of environment secrets; use .env.example, or have the session hold the credential")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  (
    resource.name == ".env" || resource.name like ".env.*" || resource.name == ".envrc" || resource.name == ".dev.vars" ||
    // A pattern that meets them: cat .e*
    (
      (resource.name like ".e*" || resource.name like ".\\**" || resource.name like ".?*" || resource.name like ".[*") &&
      (resource.name like "*\\**" || resource.name like "*?*" || resource.name like "*[*")
    )
  ) &&
  ![
    ".env.kontext", ".env.kontext.example", ".env.example", ".env.sample", ".env.template", ".env.dist", ".env.defaults",
    ".env.schema", ".env.test", ".env.ci"
  ].contains(resource.name) &&
  !(resource.name like "*.example") &&
  resource.access != "write" &&
  // Programs that take the name only; what copies or tracks the file has its own rule below.
  !(
    resource.access == "argument" &&
    [
      "ls", "tree", "stat", "test", "[", "[[", "touch", "rm", "find", "fd", "chmod", "git", "cp", "mv", "ln", "install", "mkdir",
      "basename", "dirname", "realpath", "which", "kontext"
    ].contains(resource.program)
  )
};

// Copying such a file to another name, tracking it, loading it, or running find's commands over it.
@id("starter.secret-env-copy")
@reason("it copies, publishes or loads a file of environment secrets")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    [Command::"cp", Command::"mv", Command::"ln", Command::"install"].contains(resource) &&
    (
      resource.line like "*.env *" ||
      resource.line like "*.env.local *" ||
      resource.line like "*.env.prod* *" ||
      resource.line like "*.env.staging *" ||
      resource.line like "*.env.dev* *" ||
      resource.line like "*.envrc *" ||
      (resource.flags.containsAny(["-t", "--target-directory"]) && resource.line like "*.env*")
    )
  ) ||
  // Loading it into a program, which may print it.
  (
    resource.flags.contains("--env-file") &&
    (
      resource.line like "*--env-file=.env" || resource.line like "*--env-file=.env *" || resource.line like "*--env-file=*/.env" ||
      resource.line like "*--env-file=*/.env *" || resource.line like "*--env-file=.env.local*" || resource.line like "*--env-file=.env.prod*"
    )
  ) ||
  (
    resource == Command::"git" &&
    (
      (
        ["add", "stage", "diff", "stash", "update-index", "hash-object", "archive"].contains(resource.subcommand) &&
        resource.args.containsAny([".env", "./.env", ".env.local", ".env.production", ".env.prod", ".env.staging", ".envrc"])
      ) ||
      resource.line like "*:.env" ||
      resource.line like "*:.env.*"
    )
  ) ||
  (
    resource == Command::"find" &&
    (resource.line like "*.env*" || resource.line like "* .e\\**") &&
    (resource.args.containsAny(["-exec", "-execdir"]) || context.programs.contains("xargs")) &&
    context.programs.containsAny([
      "cat", "head", "tail", "grep", "cp", "mv", "less", "more", "sh", "bash", "xxd", "base64", "sed", "awk", "strings", "tar"
    ])
  )
};

// Private keys and certificates that hold them.
@id("starter.secret-key-file")
@reason("it reads, copies or changes private keys")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  !(
    resource.access == "argument" &&
    ["ls", "tree", "stat", "test", "[", "[[", "find", "fd", "chmod", "mkdir", "basename", "dirname", "which"].contains(resource.program)
  ) &&
  (
    (
      (resource.path like "*/.ssh" || resource.path like "*/.ssh/*") &&
      !(
        resource.access != "write" &&
        (
          resource.name like "*.pub" ||
          (["config", "known_hosts"].contains(resource.name) &&
            ["", "cat", "head", "tail", "less", "grep", "rg", "wc"].contains(resource.program))
        )
      ) &&
      // They use a key and show it to nobody.
      !["ssh", "ssh-add", "ssh-keygen", "ssh-keyscan", "ssh-agent"].contains(resource.program)
    ) ||
    (resource.path like "*/.gnupg" || resource.path like "*/.gnupg/*") ||
    (
      (
        resource.name like "id_rsa*" || resource.name like "id_ed25519*" || resource.name like "id_ecdsa*" || resource.name like "id_dsa*"
      ) &&
      !(resource.name like "*.pub") &&
      !["ssh", "ssh-add", "ssh-keygen"].contains(resource.program)
    ) ||
    (
      resource.access != "write" &&
      (
        resource.name like "*.pem" || resource.name like "*.key" || resource.name like "*.p12" || resource.name like "*.pfx" ||
        resource.name like "*.jks" || resource.name like "*.keystore" || resource.name like "*.kdbx" || resource.name like "*.ppk" ||
        resource.name like "*.p8" || resource.name like "*.asc.key"
      ) &&
      !(
        ["ca.pem", "cacert.pem", "cert.pem", "fullchain.pem", "chain.pem", "public.pem", "pubkey.pem", "public.key", "ca-bundle.pem"]
          .contains(resource.name) ||
        resource.name like "*-cert.pem" || resource.name like "*.cert.pem" || resource.name like "*_cert.pem" ||
        resource.name like "*.pub.pem" || resource.name like "*.pub.key" || resource.name like "*-public.pem"
      ) &&
      !["openssl", "mkcert", "ssh", "git", "rm"].contains(resource.program)
    )
  )
};

// What command-line programs keep their logins in.
@id("starter.secret-credential-file")
@reason("it reads or changes a file in which a program keeps its login; use a credential of the session")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  !(
    resource.access == "argument" &&
    ["ls", "stat", "test", "[", "[[", "find", "fd", "mkdir", "basename", "dirname", "which"].contains(resource.program)
  ) &&
  (
    (resource.path like "*/.aws" || resource.path like "*/.aws/credentials*" || resource.path like "*/.aws/sso/*" ||
      resource.path like "*/.aws/cli/cache*" || resource.path like "*/.aws/\\**") ||
    (resource.path like "*/.config/gcloud" || resource.path like "*/.config/gcloud/*") ||
    (resource.path like "*/.azure" || resource.path like "*/.azure/*") ||
    (resource.path like "*/.kube" || resource.path like "*/.kube/*" || resource.name == "kubeconfig" || resource.name like "*.kubeconfig") ||
    (resource.path like "*/.docker/config.json" || resource.path like "*/.docker/\\**") ||
    (resource.path like "*/.config/gh" || resource.path like "*/.config/gh/*" || resource.path like "*/.config/glab-cli*") ||
    (resource.path like "*/.config/op" || resource.path like "*/.config/op/*") ||
    (resource.path like "*/.config/rclone*" || resource.path like "*/.config/doctl*" || resource.path like "*/.fly/*") ||
    (resource.path like "*/.config/stripe*" || resource.path like "*/.config/hub") ||
    (resource.path like "*/.terraform.d/credentials*" || resource.path like "*/.pulumi/credentials*") ||
    (resource.path like "*/.cargo/credentials*" || resource.path like "*/.gem/credentials" || resource.path like "*/.m2/settings*.xml") ||
    (resource.path like "*/.config/containers/auth.json" || resource.path like "*/.config/composer/auth.json") ||
    [
      ".netrc", "_netrc", ".git-credentials", ".pgpass", ".my.cnf", ".mylogin.cnf", ".vault-token", ".pypirc", ".s3cfg", ".boto",
      ".dockercfg", ".htpasswd", ".databrickscfg", ".snowsql"
    ].contains(resource.name) ||
    // In a project it names registries; in the home directory it holds their tokens.
    ([".npmrc", ".yarnrc.yml", ".yarnrc"].contains(resource.name) && !resource.inProject) ||
    (resource.name like "*credentials.json" || resource.name like "*service-account*.json" || resource.name like "*serviceaccount*.json" ||
      resource.name == "application_default_credentials.json" || resource.name like "client_secret*.json")
  )
};

// Keyrings and password stores, and what browsers keep.
@id("starter.secret-keyring-file")
@reason("it reads or changes a keyring, a password store, or what a browser keeps")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  (
    resource.path like "*/Library/Keychains*" ||
    resource.name like "*.keychain" || resource.name like "*.keychain-db" ||
    resource.path like "*/.local/share/keyrings*" || resource.path like "*/.gnome2/keyrings*" ||
    resource.path like "*/kwalletd*" || resource.path like "*/.password-store*" ||
    resource.path like "*/.config/google-chrome*" || resource.path like "*/.config/chromium*" ||
    resource.path like "*/.config/BraveSoftware*" || resource.path like "*/.config/microsoft-edge*" ||
    resource.path like "*/.mozilla/firefox*" || resource.path like "*/.config/mozilla*" || resource.path like "*/snap/firefox/*" ||
    resource.path like "*/Library/Application Support/Google/Chrome*" ||
    resource.path like "*/Library/Application Support/Firefox*" ||
    resource.path like "*/Library/Application Support/BraveSoftware*" ||
    resource.path like "*/Library/Application Support/Microsoft Edge*" ||
    resource.path like "*/Library/Cookies*" || resource.path like "*/Library/Safari*" ||
    resource.path like "*/.config/Bitwarden*" || resource.path like "*/.config/1Password*" ||
    resource.path like "*/.config/keepassxc*" || resource.path == "/etc/shadow" || resource.path == "/etc/gshadow" ||
    resource.path like "/etc/sudoers*" || resource.path == "/etc/master.passwd"
  )
};

// The environment and the memory of other processes, such as that of \`kontext start\`.
@id("starter.secret-process")
@reason("it reads the environment or memory of a process")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  resource.path like "/proc/*/environ" ||
  resource.path like "/proc/*/mem" ||
  resource.path like "/proc/*/auxv" ||
  resource.path like "/proc/\\*/*" ||
  resource.path == "/proc/kcore"
};

// Programs that print what they keep.
@id("starter.secret-command")
@reason("it prints a secret or a login that some program keeps; use a credential of the session")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    resource == Command::"security" &&
    ["find-generic-password", "find-internet-password", "dump-keychain", "export", "find-key", "find-identity", "unlock-keychain"]
      .contains(resource.subcommand)
  ) ||
  (resource == Command::"secret-tool" && ["lookup", "search", "store", "clear"].contains(resource.subcommand)) ||
  ([Command::"kwallet-query", Command::"kwalletcli", Command::"lazagne", Command::"mimipenguin", Command::"gcore"].contains(resource)) ||
  (resource == Command::"pass" && !["ls", "list", "git", "help", "version", "find", ""].contains(resource.subcommand)) ||
  (resource == Command::"pass" && resource.subcommand == "" && resource.flags.contains("-c")) ||
  (resource == Command::"op" && ["read", "item", "document", "inject", "run"].contains(resource.subcommand)) ||
  (resource == Command::"bw" && ["get", "list", "export", "unlock"].contains(resource.subcommand)) ||
  (resource == Command::"lpass" && ["show", "export"].contains(resource.subcommand)) ||
  (resource == Command::"keepassxc-cli" && ["show", "export", "clip", "attachment-export"].contains(resource.subcommand)) ||
  (resource == Command::"vault" && ["read", "kv", "token", "print"].contains(resource.subcommand)) ||
  ([Command::"gpg", Command::"gpg2"].contains(resource) &&
    (resource.line like "*--export-secret*" || resource.flags.contains("--export-ssh-key"))) ||
  (resource == Command::"ssh-keygen" && resource.flags.contains("-p")) ||
  (resource == Command::"gh" && (resource.args.containsAll(["auth", "token"]) || resource.flags.contains("--show-token") ||
    (resource.args.containsAll(["auth", "status"]) && resource.flags.contains("-t")) || resource.line like "*oauth_token*")) ||
  (resource == Command::"glab" && resource.flags.contains("--show-token")) ||
  (resource == Command::"gcloud" && resource.args.containsAny(["print-access-token", "print-identity-token", "print-refresh-token"])) ||
  (resource == Command::"gcloud" && resource.args.containsAll(["secrets", "versions", "access"])) ||
  (resource == Command::"az" && resource.args.contains("get-access-token")) ||
  (resource == Command::"az" && resource.args.containsAll(["keyvault", "secret", "show"])) ||
  (resource == Command::"aws" && resource.args.containsAny([
    "export-credentials", "get-secret-value", "get-session-token", "get-login-password", "create-access-key", "assume-role",
    "get-federation-token", "get-authorization-token"
  ])) ||
  (resource == Command::"aws" && resource.flags.contains("--with-decryption")) ||
  (resource == Command::"aws" && resource.args.containsAll(["configure", "get"]) &&
    (resource.line like "*secret*" || resource.line like "*token*")) ||
  (resource == Command::"kubectl" && resource.args.contains("get") &&
    (resource.args.containsAny(["secret", "secrets"]) || resource.line like "* secret*/*" || resource.line like "*,secret*")) ||
  (resource == Command::"kubectl" && resource.args.contains("view") && resource.flags.contains("--raw")) ||
  (resource == Command::"heroku" && resource.args.containsAny(["config", "auth:token"])) ||
  (resource == Command::"npm" && resource.args.containsAll(["config", "get"]) && resource.line like "*_auth*") ||
  (resource == Command::"docker-credential-desktop" || resource == Command::"docker-credential-secretservice" ||
    resource == Command::"docker-credential-osxkeychain" || resource == Command::"docker-credential-pass") ||
  (resource == Command::"git" && resource.subcommand == "credential" && resource.args.containsAny(["fill", "get"])) ||
  (resource == Command::"git" && resource.subcommand like "credential-*" && resource.args.contains("get")) ||
  // Private keys; what is public may be shown.
  (resource == Command::"openssl" && ["rsa", "pkey", "ec", "dsa", "pkcs8", "pkcs12"].contains(resource.subcommand) &&
    !resource.flags.containsAny(["-pubout", "-noout", "-pubin", "-nokeys"])) ||
  ([Command::"sops", Command::"age", Command::"rage"].contains(resource) &&
    (resource.flags.containsAny(["-d", "--decrypt"]) || resource.subcommand == "decrypt")) ||
  (resource == Command::"ansible-vault" && ["view", "decrypt", "edit"].contains(resource.subcommand)) ||
  // The environment of other processes.
  (resource == Command::"ps" && resource.args.containsAny(
    ["e", "eww", "ewww", "eu", "ae", "axe", "auxe", "aexww", "axeww", "auxeww", "auxewww", "auxwwe", "wwe", "-E"])) ||
  ([Command::"dbus-send", Command::"gdbus", Command::"busctl"].contains(resource) && resource.line like "*org.freedesktop.secrets*")
};

// File servers of MCP, which get a path in their arguments.
@id("starter.secret-mcp")
@reason("it hands the path of keys, logins or secrets to an MCP tool")
forbid (principal, action == Action::"tool_call", resource is McpTool)
when {
  resource.input like "*/.ssh/id_*" ||
  resource.input like "*/.ssh\\"*" ||
  resource.input like "*/.aws/credentials*" ||
  resource.input like "*/.config/gh/*" ||
  resource.input like "*/.config/gcloud/*" ||
  resource.input like "*/.kube/config*" ||
  resource.input like "*/.docker/config.json*" ||
  resource.input like "*/.netrc*" ||
  resource.input like "*/.git-credentials*" ||
  resource.input like "*/.gnupg/*" ||
  resource.input like "*/Library/Keychains*" ||
  resource.input like "*/keyrings/*" ||
  resource.input like "*/.env\\"*" ||
  resource.input like "*\\".env\\"*" ||
  resource.input like "*/.env.local\\"*" ||
  resource.input like "*/.env.production\\"*" ||
  resource.input like "*/environ\\"*"
};
`,
  },
  {
    name: 'agents.cedar',
    text: `// An agent that escapes its hooks, or uses the developer's authority over kontext.
//
// These stop what a call says. The same user can do the same by other means; the agent's settings are hardened, the hook
// configuration is watched, and what changes authority has to be confirmed in a browser. See docs/policy.md.

// Starting an agent with its hooks switched off, or with settings that hold none.
@id("starter.agent-unhooked")
@reason("it starts an agent without its hooks, so nothing it does would be decided or recorded")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    (
      [Command::"claude", Command::"claude-code"].contains(resource) ||
      // Through a runner of packages, or by its file.
      (
        [
          Command::"npx", Command::"bunx", Command::"pnpx", Command::"pnpm", Command::"npm", Command::"yarn", Command::"bun",
          Command::"node", Command::"deno", Command::"docker", Command::"podman"
        ].contains(resource) &&
        resource.line like "*claude*"
      )
    ) &&
    (
      resource.flags.containsAny([
        "--bare", "--safe-mode", "--settings", "--setting-sources", "--managed-settings", "--bg", "--background", "--cloud",
        "--environment", "--desktop", "--remote"
      ]) ||
      resource.line like "* --bare*" ||
      resource.line like "* --safe-mode*" ||
      resource.assigns.containsAny(["CLAUDE_CODE_SIMPLE", "CLAUDE_CODE_SAFE_MODE", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_SHELL_PREFIX"])
    )
  ) ||
  (
    (resource == Command::"codex" || resource.line like "*@openai/codex*") &&
    (
      resource.flags.containsAny(["--dangerously-bypass-approvals-and-sandbox", "--dangerously-bypass-hook-trust", "--yolo"]) ||
      resource.args.containsAny(["hooks", "--disable=hooks", "features.hooks=false", "features.codex_hooks=false"]) ||
      resource.line like "*hooks*=*" ||
      resource.assigns.contains("CODEX_HOME")
    )
  ) ||
  (
    [Command::"gemini", Command::"qwen"].contains(resource) &&
    (
      resource.assigns.containsAny(["GEMINI_CLI_SYSTEM_SETTINGS_PATH", "QWEN_CODE_SYSTEM_SETTINGS_PATH", "GEMINI_CLI_HOME"]) ||
      resource.flags.containsAny(["--yolo", "-y"])
    )
  ) ||
  (
    resource == Command::"opencode" &&
    (resource.flags.contains("--pure") || resource.assigns.containsAny(["OPENCODE_PURE", "OPENCODE_CONFIG_CONTENT", "OPENCODE_CONFIG"]))
  ) ||
  // The variables set for what comes later.
  (
    [Command::"export", Command::"declare", Command::"typeset", Command::"readonly", Command::"env", Command::"set", Command::"setenv",
      Command::"launchctl"].contains(resource) &&
    (
      resource.line like "*CLAUDE_CODE_SIMPLE*" || resource.line like "*CLAUDE_CODE_SAFE_MODE*" ||
      resource.line like "*CLAUDE_CODE_SHELL_PREFIX*" || resource.line like "*OPENCODE_PURE*" ||
      resource.line like "*GEMINI_CLI_SYSTEM_SETTINGS_PATH*"
    )
  ) ||
  resource.assigns.containsAny(["CLAUDE_CODE_SIMPLE", "CLAUDE_CODE_SAFE_MODE", "CLAUDE_CODE_SHELL_PREFIX", "OPENCODE_PURE"])
};

// Another agent inside this one: this session decides and records none of its calls, unless \`kontext setup\` put hooks there.
@id("starter.agent-nested")
@effect("ask")
@reason("it starts another agent, whose calls this session may not see")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    [
      Command::"claude", Command::"claude-code", Command::"codex", Command::"gemini", Command::"qwen", Command::"opencode", Command::"aider", Command::"cursor-agent", Command::"goose", Command::"amp",
      Command::"crush", Command::"droid"
    ].contains(resource) ||
    // Through a runner of packages.
    (
      (
        [Command::"npx", Command::"bunx", Command::"pnpx", Command::"uvx", Command::"pipx"].contains(resource) ||
        (
          [Command::"npm", Command::"pnpm", Command::"yarn", Command::"bun"].contains(resource) &&
          ["dlx", "exec", "x"].contains(resource.subcommand)
        )
      ) &&
      (
        resource.args.containsAny(["claude", "codex", "gemini", "qwen", "opencode", "aider", "aider-chat", "opencode-ai"]) ||
        resource.line like "*@anthropic-ai/claude-code*" ||
        resource.line like "*@openai/codex*" ||
        resource.line like "*@google/gemini-cli*" ||
        resource.line like "*@qwen-code/*"
      )
    )
  ) &&
  !resource.flags.containsAny(["--version", "-v", "-V", "--help", "-h"]) &&
  !["mcp", "doctor", "update", "install", "config", "plugin", "auth", "login", "completion", "models"].contains(resource.subcommand)
};

// The settings of agents: hooks, permissions, servers they start. Plans, memory and worktrees of an agent are its own.
@id("starter.agent-settings")
@reason("it changes the settings of an agent, which may switch off its hooks; only the user may do that")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  (
    resource.access == "write" ||
    (
      resource.access == "argument" &&
      ![
        "ls", "tree", "stat", "test", "[", "[[", "cat", "bat", "head", "tail", "less", "more", "wc", "file",
        "grep", "rg", "ag", "find", "fd", "jq", "diff", "mkdir", "basename", "dirname", "realpath", "which", "cd", "claude",
        "sha256sum", "shasum", "du"
      ].contains(resource.program) &&
      !(resource.program == "git" && !(context.command like "*checkout*") && !(context.command like "*restore*"))
    )
  ) &&
  (
    (
      (resource.path like "*/.claude" || resource.path like "*/.claude/*") &&
      !(
        (
          resource.path like "*/.claude/plans/*" || resource.path like "*/.claude/projects/*" || resource.path like "*/.claude/todos/*" ||
          resource.path like "*/.claude/tasks/*" || resource.path like "*/.claude/agent-memory*/*" ||
          resource.path like "*/.claude/worktrees/*" || resource.path like "*/.claude/CLAUDE*.md" || resource.path like "*/.claude/rules/*"
        ) &&
        // A worktree holds a project, with settings of its own.
        !(resource.path like "*/.claude/*/.claude/*")
      )
    ) ||
    [".claude.json", ".mcp.json", "managed-settings.json", "managed-mcp.json", "opencode.json", "opencode.jsonc"].contains(resource.name) ||
    resource.path like "/etc/claude-code/*" ||
    resource.path like "*/Application Support/ClaudeCode/*" ||
    resource.path like "*/.codex" || resource.path like "*/.codex/*" || resource.path like "/etc/codex/*" ||
    resource.path like "*/.gemini" || resource.path like "*/.gemini/*" || resource.path like "/etc/gemini-cli/*" ||
    resource.path like "*/.qwen" || resource.path like "*/.qwen/*" ||
    resource.path like "*/.opencode" || resource.path like "*/.opencode/*" || resource.path like "*/.config/opencode*"
  )
};

// Files that run when a shell, git or the session starts.
@id("starter.startup-files")
@effect("ask")
@reason("it changes a file that runs when a shell, git or a login starts")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  (
    resource.access == "write" ||
    (resource.access == "argument" &&
      ["tee", "cp", "mv", "ln", "install", "sed", "perl", "ed", "ex", "vim", "vi", "nano", "dd", "rsync", "patch", "chmod", "sponge"]
        .contains(resource.program))
  ) &&
  (
    (
      !resource.inProject &&
      [
        ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile", ".zshrc", ".zshenv", ".zprofile",
        ".zlogin", ".kshrc", ".cshrc", ".tcshrc", ".gitconfig", "config.fish", ".inputrc", ".vimrc", ".tmux.conf", ".xprofile", ".pam_environment"
      ].contains(resource.name)
    ) ||
    resource.path like "*/.git/hooks/*" || resource.path like "*/.git/config" ||
    resource.path like "*/.config/autostart/*" || resource.path like "*/.config/systemd/user/*" || resource.path like "*/.config/git/*" ||
    resource.path like "*/.config/environment.d/*" || resource.path like "*/Library/LaunchAgents/*" || resource.path like "/Library/Launch*/*" ||
    resource.path like "/etc/cron*" || resource.path like "/var/spool/cron/*" || resource.path like "/etc/profile*" ||
    resource.path like "/etc/systemd/*" || resource.path == "/etc/ld.so.preload"
  )
};

// What runs later, when nobody looks.
@id("starter.scheduled-command")
@effect("ask")
@reason("it lets something run later, outside of this session")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  [Command::"at", Command::"batch", Command::"schtasks"].contains(resource) ||
  (resource == Command::"crontab" && !resource.flags.contains("-l")) ||
  (resource == Command::"launchctl" && ["load", "bootstrap", "submit", "enable", "kickstart"].contains(resource.subcommand)) ||
  (resource == Command::"systemd-run" && resource.line like "*--on-*") ||
  (resource == Command::"systemctl" && resource.args.containsAny(["enable", "link", "edit", "set-environment", "import-environment"]))
};

// Using the developer's login for what only the developer may do.
@id("starter.kontext-authority")
@reason("it changes logins, trust, secrets, providers or policy in the user's name; only the user may run it")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    (
      resource == Command::"kontext" ||
      // Through a runner of packages.
      (
        [Command::"npx", Command::"bunx", Command::"pnpx", Command::"pnpm", Command::"npm", Command::"yarn", Command::"bun"].contains(resource) &&
        resource.args.containsAny(["kontext", "@kontext/cli"])
      ) ||
      ([Command::"node", Command::"bun", Command::"deno"].contains(resource) && resource.line like "*kontext*")
    ) &&
    (
      resource.args.containsAny(["approve", "deny", "trust", "login", "logout", "connect", "setup", "uninstall", "serve", "daemon"]) ||
      // What the hooks of \`kontext setup\` run; an agent that runs it chooses what the daemon is told.
      (resource.args.contains("hook") && resource.flags.contains("--ensure")) ||
      (resource.args.containsAny(["policy", "secrets", "providers", "members", "invitations", "connections", "leases", "sessions", "agents",
        "webhooks", "idp", "requests"]) &&
      resource.args.containsAny(["push", "publish", "restore", "rollout", "withdraw", "put", "add", "rm", "remove", "role", "suspend",
        "create", "revoke", "end", "set", "allow", "forbid", "disable", "enable", "invite"]))
    )
  ) ||
  (
    resource == Command::"kontext-backend" &&
    !resource.flags.containsAny(["--version", "-V", "--help", "-h"])
  )
};

// Stopping kontext, or starting it under other settings.
@id("starter.kontext-tampering")
@reason("it stops kontext, or changes what it is told; only the user may do that")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    [Command::"pkill", Command::"killall", Command::"kill", Command::"skill", Command::"xkill", Command::"systemctl", Command::"launchctl",
      Command::"service", Command::"gdb", Command::"lldb", Command::"strace", Command::"ptrace", Command::"renice"].contains(resource) &&
    resource.line like "*kontext*"
  ) ||
  // Its daemon, by the rest of its command line.
  (
    [Command::"pkill", Command::"killall"].contains(resource) &&
    (resource.args.contains("daemon") || resource.line like "*daemon --runtime-dir*")
  ) ||
  // The process around the agent's shell, and those a session names.
  (
    resource == Command::"kill" && resource.dynamic &&
    (context.command like "*$PPID*" || context.command like "*\${PPID*" || context.command like "*$KONTEXT_*")
  ) ||
  // It runs on node.
  ([Command::"pkill", Command::"killall"].contains(resource) && resource.args.containsAny(["node", "nodejs", "node.*"])) ||
  // Finding its process in a call that also stops one: kill $(pgrep kontext).
  (
    [Command::"pgrep", Command::"pidof", Command::"ps", Command::"lsof", Command::"fuser", Command::"grep", Command::"rg", Command::"awk"]
      .contains(resource) &&
    resource.line like "*kontext*" &&
    context.programs.containsAny(["kill", "pkill", "killall", "gdb", "lldb", "strace", "skill"])
  ) ||
  // Talking to its socket.
  (
    [Command::"nc", Command::"ncat", Command::"netcat", Command::"socat", Command::"curl"].contains(resource) &&
    resource.line like "*/kontext/*"
  ) ||
  // The same by the variables a session has.
  (
    [
      Command::"nc", Command::"ncat", Command::"netcat", Command::"socat", Command::"curl", Command::"rm", Command::"mv", Command::"cp",
      Command::"ln", Command::"cat", Command::"tee", Command::"xxd", Command::"base64"
    ].contains(resource) &&
    resource.dynamic &&
    context.command like "*KONTEXT_*"
  ) ||
  (resource == Command::"kontext" && context.command like "*KONTEXT_*=*") ||
  (
    [Command::"unset", Command::"export", Command::"declare", Command::"typeset", Command::"readonly", Command::"env", Command::"set",
      Command::"setenv"].contains(resource) &&
    resource.line like "*KONTEXT_*"
  ) ||
  resource.assigns.containsAny([
    "KONTEXT_API_URL", "KONTEXT_ISSUER", "KONTEXT_ENV_FILE", "KONTEXT_AGENT", "KONTEXT_MODE", "KONTEXT_LOGIN_STORE",
    "KONTEXT_HOOK_TIMEOUT_MS", "KONTEXT_NO_INPUT", "KONTEXT_CONFIG_DIR", "KONTEXT_LOG", "KONTEXT_LOG_FILE", "KONTEXT_SESSION",
    "KONTEXT_SOCKET", "KONTEXT_LOCAL", "KONTEXT_DATA_DIR", "KONTEXT_TOKEN"
  ])
};

// The files of kontext: settings, the login where it is a file, the spool, the socket and its key.
@id("starter.kontext-files")
@reason("it reads or changes kontext's own files")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  !(resource.access == "argument" && ["ls", "stat", "test", "[", "[["].contains(resource.program)) &&
  (
    resource.path like "*/.config/kontext" || resource.path like "*/.config/kontext/*" ||
    resource.path like "*/.local/state/kontext" || resource.path like "*/.local/state/kontext/*" ||
    resource.path like "*/.cache/kontext" || resource.path like "*/.cache/kontext/*" ||
    resource.path like "/run/user/*/kontext" || resource.path like "/run/user/*/kontext/*" ||
    // Where managed settings put it on macOS, and the daemon's place below any other runtime directory.
    resource.path like "/var/tmp/kontext-*" || resource.path like "/private/var/tmp/kontext-*" ||
    (!resource.inProject && (resource.path like "*/kontext/d" || resource.path like "*/kontext/d/*")) ||
    (resource.name == ".kontext.json" && resource.access != "read" &&
      !["cat", "jq", "git", "grep", "rg", "head"].contains(resource.program))
  )
};
`,
  },
  {
    name: 'exfiltration.cedar',
    text: `// Shapes of exfiltration: the environment, or files, going out to the network. A call that fetches is free.
//
// Network access of a program of the agent's own making is not seen here: see docs/policy.md, "What policy cannot see".

// The environment holds the session's credentials: it leaves in no form. A bare \`env\`, or \`printenv\`, in a call that also
// talks to the network.
@id("starter.exfiltrate-environment")
@reason("it sends the environment, which holds credentials, over the network")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    resource == Command::"printenv" ||
    (resource == Command::"env" && resource.args.isEmpty()) ||
    (resource == Command::"set" && resource.args.isEmpty()) ||
    ([Command::"export", Command::"declare", Command::"typeset", Command::"readonly"].contains(resource) &&
      (resource.args.isEmpty() || resource.flags.containsAny(["-p", "-x", "-xp", "-px"])) && !(resource.line like "*=*")) ||
    (resource == Command::"compgen" && resource.flags.containsAny(["-e", "-v"]))
  ) &&
  context.programs.containsAny([
    "curl", "wget", "http", "https", "xh", "curlie", "aria2c", "nc", "ncat", "netcat", "socat", "telnet", "ssh", "scp", "sftp", "rsync",
    "ftp", "lftp", "tftp", "mail", "mailx", "sendmail", "mutt", "dig", "nslookup", "host", "drill", "ping", "openssl", "rclone",
    "websocat", "wscat", "croc", "gh", "aws", "gsutil", "busybox"
  ])
};

// What was encoded or packed goes straight to a network program.
@id("starter.exfiltrate-encoded")
@reason("it encodes or packs data and sends it over the network")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    [
      Command::"curl", Command::"wget", Command::"http", Command::"https", Command::"xh", Command::"nc", Command::"ncat",
      Command::"netcat", Command::"socat", Command::"telnet", Command::"ftp", Command::"openssl", Command::"websocat"
    ].contains(resource) &&
    ["base64", "base32", "basenc", "xxd", "od", "hexdump", "uuencode", "gpg", "gpg2", "age", "tar", "zip", "gzip", "bzip2", "xz", "zstd", "7z"]
      .contains(resource.pipedFrom) &&
    !(resource == Command::"openssl" && resource.subcommand != "s_client")
  ) ||
  (
    [Command::"curl", Command::"wget", Command::"http", Command::"xh", Command::"nc", Command::"ncat", Command::"dig",
      Command::"nslookup", Command::"host", Command::"drill", Command::"ping"].contains(resource) &&
    resource.dynamic &&
    context.programs.containsAny(["base64", "base32", "basenc", "xxd", "od", "hexdump"])
  )
};

// A shell's own sockets; no tool of developers needs them.
@id("starter.exfiltrate-dev-tcp")
@reason("it opens a network connection by redirection, past every program that could be judged")
forbid (principal, action == Action::"tool_call", resource is Host)
when {
  ["tcp", "udp"].contains(resource.scheme) &&
  !["localhost", "127.0.0.1", "::1"].contains(resource.name) &&
  // These take a host as an argument, or such a URL.
  !["nc", "ncat", "netcat", "socat", "docker", "podman", "nerdctl", "docker-compose", ""].contains(resource.program)
};

// Files that go out. Downloads and requests with text of their own stay free; of scp and its kin both ways are asked about.
@id("starter.upload-file")
@effect("ask")
@reason("it sends a file over the network, or opens a way for one")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    resource == Command::"curl" &&
    (
      resource.flags.containsAny(["-T", "--upload-file"]) ||
      (resource.flags.containsAny(["-F", "--form"]) && (resource.line like "*=@*" || resource.line like "*=<*")) ||
      resource.line like "* -d@*" ||
      (resource.flags.contains("-d") && !resource.args.contains("-d") && resource.line like "*d@*") ||
      (resource.flags.contains("-d") && resource.line like "*d @*") ||
      resource.line like "*--data*@*" && (resource.line like "*--data* @*" || resource.line like "*--data*=@*" ||
        resource.line like "*--data-urlencode *@*") ||
      resource.line like "*--json @*" || resource.line like "*--json=@*" ||
      resource.line like "*--url-query @*" ||
      resource.flags.containsAny(["-K", "--config"])
    )
  ) ||
  (resource == Command::"wget" && resource.flags.containsAny(["--post-file", "--body-file", "--input-metalink"])) ||
  (resource == Command::"wget" && (resource.line like "* --post-f*" || resource.line like "* --body-f*")) ||
  ([Command::"http", Command::"https", Command::"xh"].contains(resource) && (resource.line like "* @*" || resource.line like "*=@*" || resource.line like "*@/*" || resource.line like "*@./*")) ||
  (
    [Command::"nc", Command::"ncat", Command::"netcat", Command::"socat", Command::"telnet", Command::"websocat"].contains(resource) &&
    !resource.flags.containsAny(["-z", "-h", "--help"])
  ) ||
  (resource == Command::"openssl" && resource.subcommand == "s_client" && resource.pipedFrom != "" && resource.pipedFrom != "echo") ||
  (
    [Command::"scp", Command::"rsync"].contains(resource) &&
    resource.line like "* *:*"
  ) ||
  [Command::"sftp", Command::"ftp", Command::"lftp", Command::"tftp", Command::"croc", Command::"wormhole", Command::"magic-wormhole",
    Command::"ngrok", Command::"cloudflared", Command::"localtunnel", Command::"bore", Command::"sendmail", Command::"mail", Command::"mailx",
    Command::"mutt", Command::"swaks"].contains(resource) ||
  (resource == Command::"rclone" && ["copy", "sync", "move", "copyto", "moveto", "rcat", "serve", "mount", "bisync"].contains(resource.subcommand)) ||
  (resource == Command::"ssh" && (resource.pipedFrom != "" || resource.flags.containsAny(["-R", "-D", "-w"]))) ||
  (resource == Command::"gh" && resource.args.contains("gist") && resource.args.containsAny(["create", "new", "edit"])) ||
  (resource == Command::"gh" && resource.subcommand == "api" && resource.line like "*gists*") ||
  // To an address, and to no remote of the repository.
  (resource == Command::"git" && ["push", "send-pack"].contains(resource.subcommand) &&
    (resource.line like "*://*" || resource.line like "*@*:*")) ||
  // The content of a file as text of the request: curl "https://x/?$(cat a)".
  (
    [Command::"curl", Command::"wget", Command::"http", Command::"xh"].contains(resource) &&
    resource.line like "*\\u{fffd}*" &&
    (context.command like "*$(cat *" || context.command like "*$(<*" || context.command like "*\`cat *" || context.command like "*$(head *" ||
      context.command like "*$(tail *")
  )
};

// A file as the input of a network program: ssh host < a.
@id("starter.upload-redirected")
@effect("ask")
@reason("it sends a file over the network")
forbid (principal, action == Action::"tool_call", resource is File)
when {
  resource.access == "read" &&
  ["curl", "wget", "http", "xh", "ssh", "nc", "ncat", "netcat", "socat", "telnet", "openssl", "ftp", "sftp", "mail", "sendmail", "websocat"]
    .contains(resource.program) &&
  (resource.program != "openssl" || context.command like "*s_client*")
};

// Requests to places that exist to take in what strangers send.
@id("starter.exfiltrate-drop")
@reason("it talks to a service that takes in and shows what strangers send")
forbid (principal, action == Action::"tool_call", resource is Host)
when {
  [
    "webhook.site", "requestbin.com", "requestbin.net", "pastebin.com", "paste.ee", "hastebin.com", "transfer.sh", "file.io", "0x0.st",
    "ix.io", "sprunge.us", "termbin.com", "temp.sh", "bashupload.com", "oshi.at", "catbox.moe", "gofile.io", "anonfiles.com", "dpaste.com",
    "dpaste.org", "rentry.co", "postb.in", "beeceptor.com", "pipedream.net", "interact.sh", "oast.fun", "oast.pro", "oast.live", "oast.me",
    "oast.site", "oast.online", "burpcollaborator.net", "requestcatcher.com", "ptsv2.com", "ptsv3.com"
  ].contains(resource.name) ||
  resource.name like "*.webhook.site" || resource.name like "*.pipedream.net" || resource.name like "*.interact.sh" ||
  resource.name like "*.oast.*" || resource.name like "*.burpcollaborator.net" || resource.name like "*.oastify.com" ||
  resource.name like "*.requestcatcher.com" || resource.name like "*.beeceptor.com" || resource.name like "*.ngrok.io" ||
  resource.name like "*.ngrok-free.app" || resource.name like "*.trycloudflare.com" || resource.name like "*.dnslog.cn"
};
`,
  },
  {
    name: 'git-history.cedar',
    text: `// Force push and rewriting of history that others may have.

// Options of git may be shortened ("--mirr"); a refspec with "+" forces, one with an empty source deletes.
@id("starter.force-push")
@effect("ask")
@reason("it overwrites or deletes what others have already fetched")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  // The same through the API of a forge.
  (resource == Command::"gh" && resource.subcommand == "api" && resource.line like "*/git/refs*" && resource.line like "* -*") ||
  ([Command::"git", Command::"hub"].contains(resource) && ["push", "send-pack", "http-push"].contains(resource.subcommand)) &&
  !resource.flags.containsAny(["-n", "--dry-run"]) &&
  (
    resource.flags.containsAny(["-f", "-d"]) ||
    resource.line like "* --for*" ||
    resource.line like "* --mi*" ||
    resource.line like "* --de*" ||
    resource.line like "* --pru*" ||
    resource.line like "* +*" ||
    resource.line like "* :*"
  )
};

@id("starter.history-rewrite")
@effect("ask")
@reason("it rewrites or forgets history, also that of branches others work on")
forbid (principal, action == Action::"tool_call", resource == Command::"git")
when {
  ["filter-branch", "filter-repo", "fast-import"].contains(resource.subcommand) ||
  (resource.subcommand == "reflog" && resource.args.containsAny(["expire", "delete"])) ||
  (resource.subcommand == "gc" && resource.line like "*--prune=*") ||
  (resource.subcommand == "update-ref" && resource.flags.containsAny(["-d", "--stdin"])) ||
  (
    resource.subcommand == "branch" &&
    resource.flags.containsAny(["-D", "-d", "--delete", "-M", "-m", "--move", "-f", "--force"]) &&
    resource.args.containsAny(["main", "master", "develop", "production", "release", "trunk"])
  ) ||
  (
    (context.branch == "main" || context.branch == "master" || context.branch == "develop" ||
      context.branch == "trunk" || context.branch == "production" || context.branch like "release*") &&
    (
      (resource.subcommand == "reset" && resource.line like "* --h*") ||
      (resource.subcommand == "commit" && resource.line like "* --am*") ||
      (resource.subcommand == "rebase" && !resource.flags.containsAny(["--abort", "--continue", "--quit", "--show-current-patch"]))
    )
  )
};

// What git runs, or where it goes, from now on.
@id("starter.git-config")
@effect("ask")
@reason("it sets what git runs, or where it goes, from now on")
forbid (principal, action == Action::"tool_call", resource == Command::"git")
when {
  (resource.subcommand == "config" || resource.flags.contains("-c")) &&
  !resource.flags.containsAny(["--get", "--get-all", "--list", "-l", "--unset"]) &&
  (
    resource.line like "*core.hooks*ath*" || resource.line like "*core.ssh*ommand*" || resource.line like "*core.fsmonitor*" ||
    resource.line like "*core.hookspath*" || resource.line like "*core.sshcommand*" || resource.line like "*core.git*roxy*" ||
    resource.line like "*diff.external*" || resource.line like "*filter.*.clean*" || resource.line like "*filter.*.smudge*" ||
    resource.line like "*credential.*helper*" || resource.line like "*gpg.*program*" || resource.line like "*include*.path*" ||
    resource.line like "*.insteadOf*" || resource.line like "*.insteadof*" || resource.line like "*.pushInsteadOf*" ||
    resource.line like "*.pushinsteadof*" || resource.line like "*http.proxy*" || resource.line like "*http.sslVerify*" ||
    // What is given a value; with -c the value itself is read as a command.
    (
      resource.subcommand == "config" &&
      (
        (resource.line like "*core.pager *" && !(resource.line like "*core.pager cat*") && !(resource.line like "*core.pager less*")) ||
        resource.line like "*.textconv *" || resource.line like "*merge.*.driver *" || resource.line like "*diff.*.command *" ||
        resource.line like "*difftool.*.cmd *" || resource.line like "*mergetool.*.cmd *" || resource.line like "*interactive.diffFilter *"
      )
    )
  )
};

// An alias is another name that the rules above do not know: git -c alias.x='push --force' x.
@id("starter.git-alias")
@effect("ask")
@reason("it gives git another meaning on the spot; run the command itself")
forbid (principal, action == Action::"tool_call", resource == Command::"git")
when {
  resource.line like "* alias.*=*" ||
  resource.line like "* alias.* *push*" ||
  resource.line like "* alias.* *reset*" ||
  resource.line like "* alias.* *clean*" ||
  resource.line like "* alias.* *filter*" ||
  resource.line like "* alias.* !*" ||
  resource.line like "* -calias.*" ||
  resource.line like "*remote.*.push*" ||
  resource.line like "*remote.*.mirror*" ||
  resource.line like "*--config-env=alias.*" ||
  resource.line like "*--config-env alias.*" ||
  resource.assigns.containsAny(["GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG"])
};
`,
  },
  {
    name: 'cloud.cedar',
    text: `// Cloud control planes: changes are asked, deletion is left to the user. Reading, planning and dry runs are free.

@id("starter.cloud-delete")
@reason("it deletes resources of a cloud or a cluster; only the user may do that")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (!resource.flags.containsAny(["--dry-run", "--dryrun"]) || resource.line like "*dry-run=none*" || resource.line like "*dry-run=false*") &&
  (
    (
      resource == Command::"aws" &&
      (
        resource.line like "* delete-*" || resource.line like "* terminate-*" || resource.line like "* destroy-*" ||
        resource.line like "* purge-*" || resource.line like "* schedule-key-deletion*" || resource.line like "* deregister-*" ||
        resource.line like "* batch-delete-*" ||
        (resource.args.contains("s3") && resource.args.containsAny(["rm", "rb"])) ||
        (resource.args.contains("s3") && resource.flags.contains("--delete"))
      )
    ) ||
    ([Command::"gcloud", Command::"az", Command::"oci", Command::"ibmcloud", Command::"aliyun", Command::"scw", Command::"hcloud",
      Command::"linode-cli", Command::"doctl", Command::"exo"].contains(resource) &&
      resource.args.containsAny(["delete", "purge", "delete-access-config", "del", "terminate"])) ||
    (resource == Command::"gsutil" && resource.args.containsAny(["rm", "rb"])) ||
    (resource == Command::"bq" && resource.args.contains("rm")) ||
    (
      [Command::"terraform", Command::"tofu", Command::"terragrunt", Command::"cdktf", Command::"tf"].contains(resource) &&
      (
        resource.args.containsAny(["destroy", "destroy-all"]) ||
        (resource.args.contains("apply") && resource.flags.containsAny(["-destroy", "--destroy"]))
      )
    ) ||
    (resource == Command::"pulumi" && (resource.args.containsAny(["destroy", "down", "dn"]) ||
      (resource.args.contains("stack") && resource.args.contains("rm")))) ||
    ([Command::"cdk", Command::"serverless", Command::"sls", Command::"sam", Command::"sst", Command::"copilot"].contains(resource) &&
      resource.args.containsAny(["destroy", "remove", "delete"])) ||
    // Through a runner of packages.
    (
      [Command::"npx", Command::"bunx", Command::"pnpx", Command::"pnpm", Command::"yarn"].contains(resource) &&
      resource.args.containsAny(["cdk", "aws-cdk", "cdktf", "serverless", "sls", "sst", "wrangler", "vercel"]) &&
      resource.args.containsAny(["destroy", "remove", "delete", "rm"])
    ) ||
    ([Command::"kubectl", Command::"oc", Command::"kubecolor", Command::"k"].contains(resource) && resource.subcommand == "delete") ||
    (resource == Command::"helm" && ["uninstall", "delete", "del", "un"].contains(resource.subcommand)) ||
    (resource == Command::"helmfile" && resource.args.contains("destroy")) ||
    (resource == Command::"eksctl" && resource.subcommand == "delete") ||
    ([Command::"fly", Command::"flyctl"].contains(resource) && (resource.args.containsAny(["destroy", "delete"]))) ||
    (resource == Command::"heroku" && resource.args.containsAny(["apps:destroy", "pg:reset", "addons:destroy"])) ||
    (resource == Command::"vercel" && ["remove", "rm"].contains(resource.subcommand)) ||
    (resource == Command::"wrangler" && resource.args.contains("delete")) ||
    (resource == Command::"supabase" && resource.args.containsAny(["delete"]))
  )
};

@id("starter.cloud-change")
@effect("ask")
@reason("it changes resources of a cloud or a cluster")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (!resource.flags.containsAny(["--dry-run", "--dryrun", "--help"]) || resource.line like "*dry-run=none*" || resource.line like "*dry-run=false*") &&
  (
    (
      resource == Command::"aws" &&
      (
        resource.line like "* create-*" || resource.line like "* put-*" || resource.line like "* update-*" ||
        resource.line like "* modify-*" || resource.line like "* run-instances*" || resource.line like "* start-*" ||
        resource.line like "* stop-*" || resource.line like "* reboot-*" || resource.line like "* attach-*" ||
        resource.line like "* detach-*" || resource.line like "* associate-*" || resource.line like "* authorize-*" ||
        resource.line like "* revoke-*" || resource.line like "* add-*" || resource.line like "* remove-*" ||
        resource.line like "* set-*" || resource.line like "* reset-*" || resource.line like "* register-*" ||
        resource.line like "* restore-*" || resource.line like "* enable-*" || resource.line like "* disable-*" ||
        resource.line like "* send-*" || resource.line like "* publish*" || resource.line like "* deploy*" ||
        resource.line like "* execute-*" || resource.line like "* tag-*" || resource.line like "* untag-*" ||
        resource.line like "* lambda invoke*" ||
        (resource.args.contains("s3") && resource.args.containsAny(["cp", "mv", "sync", "mb"]))
      )
    ) ||
    ([Command::"gcloud", Command::"az", Command::"oci", Command::"ibmcloud", Command::"aliyun", Command::"scw", Command::"hcloud",
      Command::"linode-cli", Command::"doctl", Command::"exo"].contains(resource) &&
      resource.args.containsAny([
        "create", "update", "deploy", "apply", "set", "patch", "start", "stop", "restart", "reset", "resize", "add", "remove",
        "enable", "disable", "import", "restore", "submit", "ssh", "scp", "up", "grant", "revoke", "rollback", "invoke",
        "set-iam-policy", "add-iam-policy-binding", "remove-iam-policy-binding", "add-metadata", "set-traffic", "update-traffic"
      ])) ||
    (resource == Command::"gsutil" && resource.args.containsAny(["cp", "mv", "rsync", "mb", "iam", "acl"])) ||
    (
      [Command::"terraform", Command::"tofu", Command::"terragrunt", Command::"cdktf", Command::"tf"].contains(resource) &&
      (resource.args.containsAny(["apply", "import", "taint", "untaint", "run-all", "force-unlock", "deploy"]) ||
        (resource.args.contains("state") && resource.args.containsAny(["rm", "mv", "push", "replace-provider"])))
    ) ||
    (resource == Command::"pulumi" && resource.args.containsAny(["up", "update", "import", "refresh", "cancel"])) ||
    ([Command::"cdk", Command::"serverless", Command::"sls", Command::"sam", Command::"sst", Command::"copilot",
      Command::"wrangler", Command::"netlify", Command::"firebase", Command::"railway", Command::"fly", Command::"flyctl", Command::"render",
      Command::"amplify", Command::"eb", Command::"goctl"].contains(resource) &&
      resource.args.containsAny(["deploy", "publish", "up", "rollback"])) ||
    // Through a runner of packages.
    (
      [Command::"npx", Command::"bunx", Command::"pnpx", Command::"pnpm", Command::"yarn"].contains(resource) &&
      resource.args.containsAny(["cdk", "aws-cdk", "cdktf", "serverless", "sls", "sst", "wrangler", "netlify", "firebase", "vercel", "supabase"]) &&
      resource.args.containsAny(["deploy", "publish", "up", "rollback", "--prod", "promote", "push"])
    ) ||
    (resource == Command::"vercel" && (resource.flags.contains("--prod") || ["promote", "rollback", "alias", "deploy"].contains(resource.subcommand))) ||
    (resource == Command::"heroku" && resource.args.containsAny(["run", "releases:rollback", "config:set", "ps:scale", "restart"])) ||
    (resource == Command::"supabase" && resource.args.containsAll(["db", "push"])) ||
    ([Command::"ansible", Command::"ansible-playbook"].contains(resource) &&
      !resource.flags.containsAny(["--check", "-C", "--syntax-check", "--list-hosts", "--list-tasks", "--version"])) ||
    (
      [Command::"kubectl", Command::"oc", Command::"kubecolor", Command::"k"].contains(resource) &&
      (
        [
          "apply", "create", "replace", "patch", "edit", "scale", "autoscale", "set", "label", "annotate", "taint", "cordon",
          "uncordon", "drain", "exec", "cp", "run", "expose", "debug", "attach", "certificate"
        ].contains(resource.subcommand) ||
        (resource.subcommand == "rollout" && resource.args.containsAny(["restart", "undo", "pause", "resume"]))
      )
    ) ||
    (resource == Command::"helm" && ["install", "upgrade", "rollback"].contains(resource.subcommand)) ||
    (resource == Command::"helmfile" && resource.args.containsAny(["apply", "sync"])) ||
    ([Command::"argocd", Command::"flux"].contains(resource) &&
      resource.args.containsAny(["create", "set", "sync", "rollback", "delete", "suspend", "resume", "reconcile"])) ||
    (resource == Command::"eksctl" && ["create", "upgrade", "scale", "drain"].contains(resource.subcommand))
  )
};
`,
  },
  {
    name: 'databases.cedar',
    text: `// Production databases. What is production is told by its name: write your own names here.

@id("starter.production-database")
@effect("ask")
@reason("it talks to a database whose name says production")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  [
    Command::"psql", Command::"pg_dump", Command::"pg_dumpall", Command::"pg_restore", Command::"pgcli", Command::"usql",
    Command::"createdb", Command::"dropdb", Command::"mysql", Command::"mysqldump", Command::"mysqladmin", Command::"mariadb",
    Command::"mycli", Command::"mongo", Command::"mongosh", Command::"mongodump", Command::"mongorestore",
    Command::"redis-cli", Command::"valkey-cli", Command::"cqlsh", Command::"clickhouse-client", Command::"clickhouse",
    Command::"sqlcmd", Command::"sqlplus", Command::"cockroach", Command::"influx", Command::"snowsql", Command::"bq",
    Command::"etcdctl", Command::"sqlite3", Command::"prisma", Command::"flyway", Command::"liquibase", Command::"atlas"
  ].contains(resource) &&
  (
    resource.line like "*production*" ||
    resource.line like "*PRODUCTION*" ||
    resource.line like "*Production*" ||
    resource.line like "*-prod" ||
    resource.line like "*-prod *" ||
    resource.line like "*-prod.*" ||
    resource.line like "*-prod-*" ||
    resource.line like "*-prod:*" ||
    resource.line like "*-prod/*" ||
    resource.line like "*_prod" ||
    resource.line like "*_prod *" ||
    resource.line like "*_prod.*" ||
    resource.line like "*_prod?*" ||
    resource.line like "*.prod" ||
    resource.line like "*.prod *" ||
    resource.line like "*.prod.*" ||
    resource.line like "*.prod:*" ||
    resource.line like "*.prod-*" ||
    resource.line like "* prod" ||
    resource.line like "* prod *" ||
    resource.line like "* prod.*" ||
    resource.line like "* prod-*" ||
    resource.line like "* prod_*" ||
    resource.line like "*=prod" ||
    resource.line like "*=prod *" ||
    resource.line like "*=prod-*" ||
    resource.line like "*=prod_*" ||
    resource.line like "*=prod.*" ||
    resource.line like "*@prod-*" ||
    resource.line like "*@prod.*" ||
    resource.line like "*@prod:*" ||
    resource.line like "*@prod/*" ||
    resource.line like "*/prod" ||
    resource.line like "*/prod *" ||
    resource.line like "*/prod?*" ||
    resource.line like "*/prod-*" ||
    resource.line like "*/prod_*" ||
    resource.line like "*//prod.*" ||
    resource.line like "*//prod-*" ||
    // The name of a variable: psql "$PROD_DATABASE_URL".
    context.command like "*$PROD*" ||
    context.command like "*\${PROD*" ||
    context.command like "*_PROD*"
  )
};

// The same by the host a database client is given.
@id("starter.production-database-host")
@effect("ask")
@reason("it talks to a database on a host whose name says production")
forbid (principal, action == Action::"tool_call", resource is Host)
when {
  (resource.name like "prod*" || resource.name like "*-prod*" || resource.name like "*.prod*" || resource.name like "*_prod*") &&
  !(resource.name like "product*") &&
  !(resource.name like "*.product*") &&
  (
    ["postgres", "postgresql", "mysql", "mariadb", "mongodb", "mongodb+srv", "redis", "rediss", "amqp", "amqps", "clickhouse"]
      .contains(resource.scheme) ||
    ["psql", "pg_dump", "mysql", "mysqldump", "mariadb", "mongo", "mongosh", "redis-cli", "clickhouse-client", "sqlcmd"]
      .contains(resource.program)
  )
};

// Statements that lose data, wherever the database is. The whole command is looked at too: statements stand in heredocs.
@id("starter.database-destruction")
@effect("ask")
@reason("it drops or empties tables, databases or caches")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  resource == Command::"dropdb" ||
  resource == Command::"dropuser" ||
  (resource == Command::"mysqladmin" && resource.args.contains("drop")) ||
  (
    [
      Command::"psql", Command::"pgcli", Command::"usql", Command::"mysql", Command::"mariadb", Command::"mycli",
      Command::"cqlsh", Command::"clickhouse-client", Command::"clickhouse", Command::"sqlcmd", Command::"sqlplus",
      Command::"cockroach", Command::"snowsql", Command::"bq", Command::"duckdb"
    ].contains(resource) &&
    (
      context.command like "*DROP *" || resource.line like "*DROP *" ||
      context.command like "*drop *" || resource.line like "*drop *" ||
      context.command like "*Drop *" || resource.line like "*Drop *" ||
      context.command like "*TRUNCATE*" || resource.line like "*TRUNCATE*" ||
      context.command like "*truncate *" || resource.line like "*truncate *" ||
      context.command like "*Truncate *" || resource.line like "*Truncate *"
    )
  ) ||
  (
    [Command::"redis-cli", Command::"valkey-cli"].contains(resource) &&
    (
      context.command like "*FLUSHALL*" || resource.line like "*FLUSHALL*" ||
      context.command like "*flushall*" || resource.line like "*flushall*" ||
      context.command like "*FLUSHDB*" || resource.line like "*FLUSHDB*" ||
      context.command like "*flushdb*" || resource.line like "*flushdb*"
    )
  ) ||
  (
    [Command::"mongo", Command::"mongosh"].contains(resource) &&
    (
      context.command like "*dropDatabase*" || resource.line like "*dropDatabase*" ||
      context.command like "*.drop(*" || resource.line like "*.drop(*" ||
      context.command like "*deleteMany({})*" || resource.line like "*deleteMany({})*"
    )
  )
};

// Servers that run statements for the agent.
@id("starter.database-destruction-mcp")
@effect("ask")
@reason("it drops or empties tables or databases")
forbid (principal, action == Action::"tool_call", resource is McpTool)
when {
  resource.input like "*DROP TABLE*" ||
  resource.input like "*drop table*" ||
  resource.input like "*DROP DATABASE*" ||
  resource.input like "*drop database*" ||
  resource.input like "*DROP SCHEMA*" ||
  resource.input like "*drop schema*" ||
  resource.input like "*TRUNCATE *" ||
  resource.input like "*truncate table*"
};
`,
  },
  {
    name: 'publishing.cedar',
    text: `// Package publishing: what everybody gets at once, and nobody can take back.

@id("starter.package-publish")
@effect("ask")
@reason("it publishes a package, an image or a release, or changes who may")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (!resource.flags.contains("--dry-run") || resource.line like "*dry-run=false*" || resource.line like "*--no-dry-run*") &&
  (
    (
      [
        Command::"npm", Command::"yarn", Command::"pnpm", Command::"bun", Command::"cnpm", Command::"deno", Command::"jsr",
        Command::"lerna", Command::"changeset", Command::"cargo", Command::"poetry", Command::"uv", Command::"flit",
        Command::"hatch", Command::"pdm", Command::"dart", Command::"flutter", Command::"vsce", Command::"ovsx",
        Command::"conda", Command::"sbt", Command::"gradle", Command::"gradlew", Command::"mix", Command::"helm", Command::"oras",
        Command::"rush", Command::"nx", Command::"npx", Command::"bunx", Command::"pnpx"
      ].contains(resource) &&
      !["run", "run-script", "exec", "install", "i", "add", "test", "view", "info", "search", "help"].contains(resource.subcommand) &&
      resource.args.containsAny(["publish", "unpublish", "hex.publish", "publishToMavenCentral", "yank"])
    ) ||
    // npm takes a command shortened.
    (resource == Command::"npm" && ["pub", "publ", "publi", "publis", "unpub", "unpubl", "unpubli", "unpublis"].contains(resource.subcommand)) ||
    (resource == Command::"ko" && ["publish", "apply", "resolve", "build"].contains(resource.subcommand)) ||
    (
      [Command::"npm", Command::"yarn", Command::"pnpm"].contains(resource) &&
      (
        resource.subcommand == "deprecate" ||
        (resource.args.containsAny(["dist-tag", "owner", "access", "token"]) &&
          resource.args.containsAny(["add", "rm", "remove", "set", "grant", "revoke", "create", "public", "restricted"]))
      )
    ) ||
    (resource == Command::"cargo" && resource.subcommand == "owner" && resource.flags.containsAny(["-a", "-r", "--add", "--remove"])) ||
    (resource == Command::"twine" && resource.subcommand == "upload") ||
    (
      [Command::"python", Command::"python3"].contains(resource) &&
      (resource.args.containsAll(["twine", "upload"]) || resource.args.containsAll(["flit", "publish"]))
    ) ||
    (resource == Command::"gem" && ["push", "yank", "owner"].contains(resource.subcommand)) ||
    (resource == Command::"rake" && resource.args.contains("release")) ||
    (
      [Command::"docker", Command::"podman", Command::"nerdctl", Command::"buildah", Command::"docker-compose"].contains(resource) &&
      (resource.subcommand == "push" || resource.flags.contains("--push") ||
        resource.args.containsAll(["image", "push"]) || resource.args.containsAll(["manifest", "push"]) ||
        resource.args.containsAll(["compose", "push"]))
    ) ||
    ([Command::"skopeo", Command::"crane", Command::"regctl"].contains(resource) &&
      resource.args.containsAny(["copy", "sync", "push", "delete"])) ||
    (
      [Command::"gh", Command::"glab"].contains(resource) &&
      resource.args.contains("release") &&
      resource.args.containsAny(["create", "new", "upload", "edit", "delete", "delete-asset"])
    ) ||
    (resource == Command::"goreleaser" && resource.subcommand == "release" && !resource.flags.contains("--snapshot")) ||
    resource == Command::"semantic-release" ||
    (
      [Command::"npx", Command::"bunx", Command::"pnpx", Command::"pnpm", Command::"yarn"].contains(resource) &&
      resource.args.containsAny(["semantic-release", "release-it", "np"])
    ) ||
    resource == Command::"np" ||
    (resource == Command::"release-it" && !resource.flags.contains("--version")) ||
    ([Command::"mvn", Command::"mvnw"].contains(resource) && resource.args.containsAny(["deploy", "release:perform", "deploy:deploy"])) ||
    (resource == Command::"dotnet" && resource.args.containsAll(["nuget", "push"])) ||
    (resource == Command::"nuget" && resource.subcommand == "push") ||
    (resource == Command::"pod" && resource.args.containsAll(["trunk", "push"])) ||
    (resource == Command::"helm" && resource.subcommand == "push")
  )
};
`,
  },
  {
    name: 'payments.cedar',
    text: `// Payments: what moves money, or what decides about it. Reading is free.

@id("starter.payment-command")
@effect("ask")
@reason("it changes something at a payment service")
forbid (principal, action == Action::"tool_call", resource is Command)
when {
  (
    [Command::"stripe", Command::"paypal", Command::"square", Command::"paddle"].contains(resource) ||
    (
      [Command::"npx", Command::"bunx", Command::"pnpx", Command::"pnpm", Command::"yarn"].contains(resource) &&
      resource.args.containsAny(["stripe", "@stripe/cli"])
    )
  ) &&
  (
    ["post", "delete"].contains(resource.subcommand) ||
    resource.flags.contains("--live") ||
    resource.args.containsAny([
      "create", "update", "delete", "cancel", "capture", "confirm", "refund", "pay", "finalize_invoice", "send_invoice",
      "void_invoice", "mark_uncollectible", "close", "resume", "reverse", "approve", "decline", "expire", "attach", "detach"
    ])
  )
};

// Whoever calls the service itself; its documentation lies elsewhere.
@id("starter.payment-host")
@effect("ask")
@reason("it calls a payment service itself")
forbid (principal, action == Action::"tool_call", resource is Host)
when {
  [
    "api.stripe.com", "files.stripe.com", "connect.stripe.com", "api.paypal.com", "api-m.paypal.com", "connect.squareup.com",
    "api.mollie.com", "api.razorpay.com", "api.wise.com", "api.transferwise.com", "api.paddle.com", "api.braintreegateway.com",
    "payments.braintree-api.com", "checkout-live.adyen.com", "api.plaid.com", "production.plaid.com", "api.coinbase.com",
    "api.gocardless.com", "api.lemonsqueezy.com", "api.chargebee.com", "api.brex.com", "api.mercury.com"
  ].contains(resource.name)
};

@id("starter.payment-tool")
@effect("ask")
@reason("it uses a tool of a payment service that is not for reading")
forbid (principal, action == Action::"tool_call", resource is McpTool)
when {
  (
    resource.server like "*stripe*" || resource.server like "*Stripe*" ||
    resource.server like "*paypal*" || resource.server like "*PayPal*" ||
    resource.server like "*square*" || resource.server like "*Square*" ||
    resource.server like "*payment*" || resource.server like "*Payment*" ||
    resource.server like "*adyen*" || resource.server like "*Adyen*" ||
    resource.server like "*braintree*" || resource.server like "*mollie*" || resource.server like "*razorpay*" ||
    resource.server like "*paddle*" || resource.server like "*wise*" || resource.server like "*plaid*" ||
    resource.server like "*coinbase*" || resource.server like "*chargebee*" || resource.server like "*billing*"
  ) &&
  !(
    resource.tool like "get*" || resource.tool like "list*" || resource.tool like "search*" ||
    resource.tool like "retrieve*" || resource.tool like "fetch*" || resource.tool like "read*" ||
    resource.tool like "describe*" || resource.tool like "stripe_get*" || resource.tool like "stripe_list*"
  )
};
`,
  },
];
