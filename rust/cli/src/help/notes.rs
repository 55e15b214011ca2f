//! Examples and exit codes of each command.

/// What long help says after the options of a command.
pub struct Note {
    /// The command with its parents, such as `etcd get`.
    pub command: &'static str,
    /// What a person should know before, if it is more than the options say.
    pub text: &'static str,
    /// Arguments, and what they do where that is not evident.
    pub examples: &'static [(&'static str, &'static str)],
    /// Exit codes that mean something else than for other commands.
    pub exit_codes: &'static [(u8, &'static str)],
}

const fn note(command: &'static str, examples: &'static [(&'static str, &'static str)]) -> Note {
    Note { command, text: "", examples, exit_codes: &[] }
}

const fn with_codes(
    command: &'static str,
    examples: &'static [(&'static str, &'static str)],
    exit_codes: &'static [(u8, &'static str)],
) -> Note {
    Note { command, text: "", examples, exit_codes }
}

/// Exit codes of commands that take nodes through a new system.
const ROLLOUT: &[(u8, &str)] = &[
    (1, "a node failed, was reverted or did not answer, or the run was interrupted"),
    (3, "refused before a change: quorum, a lock, a pre-flight check, a changed plan or membership"),
];

/// Exit codes of commands that change who votes, or rotate keys.
const GUARDED: &[(u8, &str)] =
    &[(3, "refused before a change: quorum, a recorded member, an unfinished stage, no consent")];

/// The notes of all commands.
pub const NOTES: &[Note] = &[
    note(
        "init",
        &[
            ("--template ha-etcd mycluster", "Three members of etcd, in the new directory mycluster"),
            ("--list-templates", ""),
            ("--refresh", "In an older cluster: bring what init wrote to this version"),
        ],
    ),
    with_codes(
        "check",
        &[("", ""), ("-C mycluster --json", "")],
        &[(2, "there are errors; warnings alone are 0"), (3, "a change that the running cluster cannot take")],
    ),
    note("explain", &[("M014", ""), ("", "All codes")]),
    with_codes("generate", &[("", ""), ("--check", "In CI")], &[(1, "--check: generated/ is not current")]),
    note("certs gen", &[("", ""), ("--prune", "Also remove those of machines that are gone")]),
    note("certs list", &[("", "")]),
    note("certs show", &[("etcd-server-balthazar", "")]),
    note("certs renew", &[("etcd-server-balthazar", ""), ("--all; machinist deploy --all", "")]),
    with_codes("certs rotate-ca", &[("etcd", "The next stage; then `machinist deploy --all`")], GUARDED),
    with_codes("certs rotate-sa", &[("", "The next stage; then `machinist deploy --all`")], GUARDED),
    with_codes("certs rotate-control", &[("", "The next stage; then `machinist deploy --all`")], GUARDED),
    with_codes("certs rotate-encryption", &[("", "The next stage; then `machinist deploy --all`")], GUARDED),
    note("router-config", &[("--format bird", "")]),
    note(
        "kubeconfig",
        &[
            ("", "For the administrator, 8 hours"),
            ("--user alice --group developers --valid 30m -o alice.kubeconfig", ""),
        ],
    ),
    with_codes(
        "plan",
        &[
            ("", ""),
            ("@etcd", "Only the members of etcd"),
            ("--out tonight.plan", "Reviewed now, deployed later by `machinist deploy --plan tonight.plan`"),
        ],
        &[
            (0, "nothing to do"),
            (1, "a host could not be asked, or is not ready; the rest is shown"),
            (4, "something to do"),
        ],
    ),
    Note {
        command: "rehearse",
        text: "Machines of this computer boot the nodes' own NixOS systems of a revision, form the cluster with throwaway keys, \
               and are deployed to and rolled back while a load writes to etcd and reads from it. No machine of the cluster \
               is connected to, and no private key of it is read. It cannot show the kernel, the boot loader, hardware, the \
               amount of real data, and the provider's network: docs/guides/rehearsal.md.",
        examples: &[
            ("", "The work tree against the last commit"),
            ("--from HEAD~1 @etcd", "The last commit against the one before, only on the members of etcd"),
            ("--snapshot .machinist/snapshots/etcd-melchior.db.age --get http://www.example.org/", ""),
        ],
        exit_codes: &[
            (0, "the deploy would work"),
            (1, "it would fail; what failed is listed"),
            (3, "a check refused, or the rehearsal could not be made"),
        ],
    },
    with_codes(
        "deploy",
        &[
            ("--all", ""),
            ("casper melchior", ""),
            ("@worker --canary 1 --max-unavailable 25%", "One worker first, then a quarter at a time"),
            ("--all --reboot auto", "Reboot the nodes whose kernel changed"),
            ("--resume", "Continue the run that was cut off"),
        ],
        ROLLOUT,
    ),
    Note {
        command: "upgrade",
        text: "Changes only the input nixpkgs in flake.lock, builds all systems, checks the versions of etcd, Kubernetes and NixOS \
               against what runs, takes a snapshot of etcd, and deploys. Where etcd needs a version between, that is a stage of \
               its own. After an interruption the same command continues. docs/guides/upgrade.md has a walk through a release.",
        examples: &[
            ("--to 26.05 --plan", "Versions, stages, and what cannot be rolled back"),
            ("--to 26.05 --reboot auto", ""),
            ("--continue", "After it was interrupted, or a node failed"),
            ("--abort", "Restore flake.lock"),
        ],
        exit_codes: &[
            (1, "a node failed, was reverted or did not answer, or the run was interrupted"),
            (3, "refused before a change: versions, uncommitted flake.lock, quorum, a lock, no consent"),
            (4, "--plan: something to do"),
        ],
    },
    Note {
        command: "secrets set",
        text: "A value is never an argument. One line break at its end is not a part of it; a whole file is taken as it is. A \
               new file is encrypted for the operators and for the nodes of `secrets` in machines.nix. docs/guides/secrets.md \
               explains the files, which sops reads and writes too.",
        examples: &[
            ("db.yaml database/password", "Prompt for the value, twice"),
            ("tls.key --file server.key", "A whole file"),
            ("web.env TOKEN --file - <token", ""),
        ],
        exit_codes: &[
            (1, "the file cannot be decrypted or written, or was changed by hand"),
            (3, "another machinist is changing secrets"),
        ],
    },
    with_codes(
        "secrets get",
        &[("db.yaml database/password", ""), ("db.yaml", "The whole file in plain")],
        &[(1, "the file cannot be decrypted, or was changed by hand"), (2, "there is no such file or key")],
    ),
    Note {
        command: "secrets edit",
        text: "The file in plain is on a file system in memory, readable by its owner only, and is removed however the command \
               ends. Lines that stay keep their encrypted text. Until the editor is closed, other changes are refused.",
        examples: &[("db.yaml", "")],
        exit_codes: &[(3, "another machinist is changing secrets, or sops changed the file meanwhile")],
    },
    note("secrets list", &[("", ""), ("db.yaml", "The keys of a file, without a key to decrypt it")]),
    note("secrets rm", &[("db.yaml database/password", ""), ("old.env --yes", "The whole file")]),
    Note {
        command: "secrets rekey",
        text: "After a change of operators, of `secrets.<file>.nodes` or of a host key. Each file gets a new data key, so a \
               recipient that is gone does not decrypt later versions; versions in git it still does. Interrupted, the same \
               command does the rest.",
        examples: &[
            ("", "Files whose recipients are not those of machines.nix"),
            ("--all", "All files"),
            ("db.yaml", ""),
        ],
        exit_codes: &[
            (1, "a file cannot be decrypted or written; those before it are done"),
            (3, "another machinist is changing secrets, or a file has keys that only sops can renew"),
        ],
    },
    with_codes(
        "secrets check",
        &[("", ""), ("--json", "In CI")],
        &[(4, "a file is missing, damaged, or readable by the wrong ones")],
    ),
    Note {
        command: "build",
        text: "Builds what `machinist deploy` would deploy, for CI: no SSH, no lock, no file of the directory changes. A \
               later deploy of the same directory evaluates nothing and finds everything built. A failure of one node does \
               not stop the others.",
        examples: &[
            ("--out-link result", "result/NODE links to each system"),
            ("--json | jq -r '.nodes[].system'", ""),
        ],
        exit_codes: &[(1, "a system could not be built")],
    },
    Note {
        command: "eval",
        text: "Evaluates machines.nix, but no NixOS system, and changes no file. docs/reference/eval.md describes the result.",
        examples: &[
            ("| jq -r '.cluster.nodes[] | \"\\(.name) \\(.ip)\"'", ""),
            ("casper | jq .facts.casper.machinist.etcd", ""),
        ],
        exit_codes: &[(1, "nix cannot be run")],
    },
    Note {
        command: "apply-local",
        text: "For a machine that is only reachable from itself, and for its console: run it as root in a checkout of the \
               cluster's directory. Checks, lock, gates, confirmation and revert are those of `machinist deploy`; the machine \
               is not rebooted. A member of etcd needs the locks of the other voters, over SSH from here, or the word \
               --unlocked-voters.",
        examples: &[
            ("-C /etc/cluster", ""),
            ("-C /etc/cluster --store-path /nix/store/8sv84vlb00pqczzvq3w4f5pvbxhnx4pm-nixos-system-casper-26.05", ""),
        ],
        exit_codes: ROLLOUT,
    },
    Note {
        command: "provision",
        text: "Compares machines.nix with what has the cluster's label at the provider, and creates what is missing: SSH keys, \
               private network, placement group, firewalls, servers. Types, prices and availability are checked before the \
               first request that costs. Each server gets a host key of ours, so that the first connection is verified. \
               Killed at any moment, the next run continues. docs/guides/hetzner.md \
               and docs/guides/digitalocean.md begin with an API token.",
        examples: &[
            ("--plan", "What would be created, and its price"),
            ("", ""),
            ("@worker --yes", "Without a question"),
        ],
        exit_codes: &[
            (1, "a server is not complete, because of a limit for example, or does not answer"),
            (3, "refused before a change: sold out, a name or an address that others have, no consent"),
            (4, "--plan: something to do"),
        ],
    },
    Note {
        command: "destroy",
        text: "Deletes servers by their label. Volumes and addresses that are kept at the provider are listed. Without names, \
               the whole cluster ends, with its network, firewalls and keys there; its certificates stay in the directory.",
        examples: &[
            ("w3", "A server whose node is out of the cluster"),
            ("--yes-destroy magi", "The whole cluster magi, without a question"),
        ],
        exit_codes: &[
            (1, "a server could not be deleted"),
            (3, "refused before a change: a node that the cluster needs, no consent"),
        ],
    },
    Note {
        command: "install",
        text: "The machine is examined first: memory, kexec, firmware, the disk and what uses it, its addresses. Nothing is \
               changed if something speaks against it, and the question says what is erased. docs/guides/install.md \
               explains the checks and the phases.",
        examples: &[
            ("casper --plan", "What speaks against it, and what would be erased"),
            ("casper --dry-run", "Each command, without running it"),
            ("cp1 cp2 cp3", "Side by side, with one consent"),
            ("casper --deadline copy=14400", "Four hours for a slow line"),
            ("cp1 cp2 --without-quorum magi", "Two of three members of etcd are lost; then `machinist etcd restore`"),
        ],
        exit_codes: &[
            (1, "a machine was not installed, or did not come back"),
            (3, "refused before a change: a check, a recorded member of etcd, a quorum, no consent"),
        ],
    },
    Note {
        command: "dns",
        text: "Compares the zone of `dns.zone` with the names of machines.nix: those of the nodes, of `dns.ingress`, of \
               `dns.records` and of the API endpoint. A TXT record for each name, _machinist.NAME, tells that its records are \
               the cluster's; a name without it that has records is refused. Killed at any moment, the next run continues. \
               docs/guides/dns.md has the details.",
        examples: &[
            ("--plan", "What would change"),
            ("", ""),
            ("--remove", "Delete all records of the cluster, before or after `destroy`"),
            ("--zone-file >magi.zone", "For a zone that is elsewhere"),
        ],
        exit_codes: &[
            (1, "a record could not be written"),
            (2, "machines.nix has no zone, the provider has no such zone, or there is no token"),
            (3, "refused before a change: a name with records of others, a zone that takes none, no consent"),
            (4, "--plan: something to do"),
        ],
    },
    with_codes(
        "rollback",
        &[
            ("casper", "To the system before the current one"),
            ("--all --to 20260301-101500", "To the systems of a run"),
        ],
        ROLLOUT,
    ),
    note("history", &[("", "")]),
    with_codes("unlock", &[("", ""), ("casper --yes", "")], &[(1, "a node could not be asked")]),
    with_codes("status", &[("", ""), ("@ingress --json", "")], &[(1, "something is unhealthy or does not answer")]),
    Note {
        command: "graph",
        text: "A service is what the cluster provides: etcd's quorum, the API, its virtual address, ingress, each application. The \
               counts hold for any choice of machines or places. An application counts as there while one instance is left; a \
               database that votes, such as Galera, needs a majority of its own.",
        examples: &[
            ("", ""),
            ("--format svg >cluster.svg", "A page for the browser"),
            ("--format mermaid --live", "For Markdown, with each machine's health"),
            ("--by room", "Machines with the same label `room` fail together"),
        ],
        exit_codes: &[],
    },
    Note {
        command: "test",
        text: "Each check requests something from the nodes. What a check writes (keys of etcd, three of them routed by the mesh, \
               a table of a database) has a name of its own, and is removed again: by the node itself if machinist is \
               interrupted. A mesh's haproxy may be reloaded. A check that does not apply is skipped, with the reason; a \
               test in which no check passed has not passed. docs/guides/test.md lists the checks.",
        examples: &[
            ("", ""),
            ("--read-only --recorded", "Write nothing, build nothing"),
            ("--json | jq -r '.checks[] | select(.result == \"failed\").name'", ""),
            ("--teardown --yes-destroy mycluster", "In CI: test the cluster, and destroy it"),
        ],
        exit_codes: &[
            (0, "at least one check passed, and none failed"),
            (1, "a check failed"),
            (3, "the test could not be run: no node answered, or nothing was checked"),
            (4, "it passed, and --teardown has left servers"),
        ],
    },
    Note {
        command: "gc",
        text: "The system that boots, the one that runs, the one that was booted, the one to roll back to and the last one that \
               was confirmed are kept in any case. The menu of the boot loader is written without the others before \
               their files are deleted.",
        examples: &[("--all --plan", "Change nothing"), ("@worker --keep 3", "")],
        exit_codes: &[
            (1, "a machine failed or did not answer"),
            (3, "refused: a lock, a system on trial, an unfinished run"),
            (4, "--plan: there are generations to delete"),
        ],
    },
    note("privileges", &[("", ""), ("--sudoers deploy", "The rule of a user that operators log in as")]),
    with_codes(
        "drift",
        &[("", ""), ("--recorded", "Quick: builds nothing")],
        &[(0, "no drift"), (1, "a host could not be asked"), (4, "drift")],
    ),
    Note {
        command: "exec",
        text: "The command is sent on standard input, runs as root, and ends when this one is interrupted. What it prints comes \
               line by line, after the machine's name, to the same stream here.",
        examples: &[
            ("@etcd -- systemctl is-active etcd", ""),
            ("--all -- 'df -h / | tail -1'", "One word is shell text"),
            ("casper --script repair.sh --timeout 600", ""),
            ("casper --stdin -- tar -x -C /srv <site.tar", ""),
        ],
        exit_codes: &[
            (0, "the command succeeded everywhere"),
            (255, "a machine gave no result; else the worst exit code of the command, which may also be 1 to 3"),
        ],
    },
    Note {
        command: "logs",
        text: "Times are those of the machines' clocks, in UTC. With --follow an entry is shown 0.3 s late, so that those of \
               several machines are in order.",
        examples: &[
            ("@etcd -u etcd -f", ""),
            ("casper --since -1h --grep 'lost leader'", ""),
            ("-u 'machinist-*' --since today --json", ""),
        ],
        exit_codes: &[(1, "a journal is missing or incomplete")],
    },
    Note {
        command: "ssh",
        text: "User, port and keys are those of machinist's other commands. The host key must be the pinned one, and nothing is \
               added to your own known_hosts.",
        examples: &[
            ("casper", ""),
            ("casper -- journalctl -b -p err", ""),
            ("--print-known-hosts >~/.ssh/cluster.known_hosts", ""),
        ],
        exit_codes: &[(255, "no connection; else the exit code of the shell or command")],
    },
    with_codes(
        "upload",
        &[
            ("motd casper:/etc/motd.d/", ""),
            ("license.key @worker:/var/lib/app/license.key --mode 0400 --owner app:app", ""),
        ],
        &[(1, "it did not arrive on a machine, where an earlier file is unchanged")],
    ),
    with_codes(
        "download",
        &[("casper:/var/log/lastlog", ""), ("@etcd:/etc/os-release found", "found/NODE/os-release")],
        &[(1, "a machine has no such file, or did not answer")],
    ),
    note(
        "port-forward",
        &[
            ("casper 2379:2379", ""),
            ("casper 15432:10.42.3.7:5432 0:80", "An address that casper reaches, and a free local port"),
        ],
    ),
    with_codes(
        "lint manifests",
        &[("", ""), ("manifests/web.yaml --kubernetes-version 1.34", "")],
        &[(2, "there are errors; warnings alone are 0")],
    ),
    with_codes("node join", &[("caspar", "Add it to machines.nix first")], GUARDED),
    with_codes("node remove", &[("caspar", "Remove it from machines.nix first")], GUARDED),
    Note {
        command: "node replace",
        text: "A machine that answers keeps its place: its data is moved aside, and it joins again. One whose server is gone \
               at the provider gets a new one; with --new-machine so does one whose server still exists, or that is no \
               server. Each step is recorded in state/cluster.json: after an interruption the same command continues. \
               docs/guides/etcd.md describes the steps.",
        examples: &[
            ("casper", "Its disk was replaced and it was installed again, or its server was deleted"),
            ("casper --new-machine --plan", "Show the steps and the price of a new server"),
            ("casper --location fsn1", "A new server in another place"),
        ],
        exit_codes: &[
            (1, "a node or a step failed: the same command continues"),
            (3, "refused before a change: quorum, sold out, a server that is not the cluster's"),
            (4, "with --plan: there are steps"),
        ],
    },
    Note {
        command: "node readdress",
        text: "Change the address in machines.nix first; every other command then refuses until the move is complete. Each \
               step is recorded in state/cluster.json. After an interruption the same command continues; with the old \
               address in machines.nix it goes back. docs/guides/changes.md describes the steps.",
        examples: &[("casper --plan", "Show the steps"), ("casper", "")],
        exit_codes: &[
            (1, "a node failed, or the new address does not answer: the same command continues"),
            (3, "refused before a change: quorum, another unfinished move, a node that cannot move in steps"),
        ],
    },
    note("node drain", &[("casper", ""), ("casper --timeout 60 --delete-local-data", "")]),
    note("node uncordon", &[("casper", "")]),
    with_codes("app list", &[("", ""), ("--offline", "")], &[(1, "an instance is missing in the mesh")]),
    with_codes("app show", &[("whoami", "")], &[(1, "an instance is missing in the mesh")]),
    note(
        "app new",
        &[
            ("api --port 9000", ""),
            (
                "api --container 'registry.example/api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
                "",
            ),
        ],
    ),
    with_codes("app update", &[("whoami", "")], ROLLOUT),
    with_codes("app scale", &[("whoami 3", "Print the change"), ("whoami 3 --write", "Make it")], ROLLOUT),
    with_codes("app move", &[("whoami --from w1 --to w2 --write", "")], ROLLOUT),
    with_codes("app remove", &[("whoami", ""), ("whoami --purge", "Its data too")], &[(4, "data or keys are left")]),
    note("objects show", &[("", ""), ("> objects.yaml", "")]),
    with_codes("objects diff", &[("", "")], &[(0, "nothing to do"), (4, "something to do")]),
    with_codes("objects apply", &[("", "")], &[(1, "the API server rejected an object; the others are applied")]),
    with_codes("etcd members", &[("", "")], &[(1, "a member is unhealthy or does not answer")]),
    with_codes("etcd status", &[("", "")], &[(1, "a member is unhealthy or does not answer")]),
    note("etcd get", &[("/cluster/settings", "")]),
    note("etcd ls", &[("/cluster/", "")]),
    note("etcd watch", &[("/cluster/", ""), ("/cluster/ --revision 1200", "")]),
    note("etcd snapshot", &[("before-the-upgrade.db.age", "")]),
    note("etcd snapshots", &[("", "")]),
    with_codes(
        "etcd restore",
        &[("latest", ""), ("before-the-upgrade.db.age --discard-running-data", "")],
        &[(3, "refused before a change: etcd runs, and its data is newer than the snapshot")],
    ),
    with_codes("etcd defrag", &[("", "")], &[(3, "refused before a change: the others are no healthy quorum")]),
    with_codes(
        "etcd verify",
        &[("", ""), ("--repair", "After an upgrade from etcd 3.5.1 to 3.5.19")],
        &[(1, "the data of a member differs"), (3, "refused before a change: a version that would forget it again")],
    ),
    with_codes("etcd move-leader", &[("", ""), ("melchior", "")], &[(3, "refused before a change")]),
    note("sandbox up", &[("; machinist deploy --all", "")]),
    note("sandbox down", &[("", "")]),
    note("sandbox status", &[("", "")]),
    note(
        "sandbox fault",
        &[
            ("casper link", "Pull the network cable of casper"),
            ("casper unit etcd.service", ""),
            ("casper bandwidth 20mbit", ""),
            ("casper reboot", ""),
        ],
    ),
    note("sandbox heal", &[("", ""), ("casper", "")]),
    note("completions", &[("bash > ~/.local/share/bash-completion/completions/machinist", "")]),
    note("man", &[("~/.local/share/man/man1", "")]),
];
