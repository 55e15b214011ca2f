# shellcheck shell=bash
# The replicated database: what is open to whom, and which member may found it.

equal "a database that replicates listens where the others reach it" '.apps.mariadb | [.bind_address, .socket[] | select(test("10.13"))]' \
  '["10.13.13.3", "ListenStream=10.13.13.3:4569"]'
check "its replication does too" '.apps.mariadb.options | contains(["gmcast.listen_addr=tcp://10.13.13.3:4567",
  "ist.recv_addr=10.13.13.3:4568"])' .apps.mariadb.options
for port in 4444 4567 4568 4569; do
  equal "port $port is open to the other members only" \
    "[.apps.mariadb.firewall[] | select(contains(\"dport $port \"))] | map(split(\" accept\")[0])" \
    "[\"ip saddr { 10.13.13.2, 10.13.13.4 } tcp dport $port\"]"
done
equal "or it replicates over the overlay" '.apps.mariadb.overlay | [.bind_address, .wsrep_node_address, .members]' \
  '["10.13.13.3", "10.10.3.1:4567", "balthazar 10.10.2.1\ncasper 10.10.4.1\nmelchior 10.10.3.1\n"]'
equal "and is open to packets from it" '[.apps.mariadb.overlay.firewall[] | select(contains("dport 4567 "))] | map(split(" accept")[0])' \
  '["ip saddr { 10.10.2.0/24, 10.10.4.0/24, 10.13.13.2, 10.13.13.4 } tcp dport 4567"]'
only "without one it is refused" .apps.mariadb.overlay.none "machinist.apps.mariadb.replicatesOver on melchior is overlay"
check "and none of them to everyone" '.apps.mariadb.opened | any(. == 3306 or . > 4000) | not' .apps.mariadb.opened
equal "by its settings alone it founds nothing" .apps.mariadb.wsrep_cluster_address '"gcomm://10.13.13.3:4567"'
equal "transfers have no password that could be in the store (facts 8.1.7)" .apps.mariadb.wsrep_sst_auth '"mysql:"'
check "those of databases are credentials" '.apps.mariadb.accounts | contains(["LoadCredential=shop:/run/secrets/shop"])' \
  .apps.mariadb.accounts
check "nothing of them is in a unit or an argument" '[.apps.mariadb.unit, .apps.mariadb.accounts] | flatten
  | map(select(test("^Exec|^Environment=")) | test("secret")) | any | not' .apps.mariadb.unit
equal "it waits for its turn, leaves the mesh, and stops" \
  '.apps.mariadb.unit | map(select(startswith("ExecStop="))) | map(gsub("/run/current-system/sw/bin/"; ""))' \
  '["ExecStop=-mariadb-members turn", "ExecStop=+-machinist-agent drain mariadb"]'
check "it is always restarted, as one restart" '.apps.mariadb.unit | contains(["Restart=always", "X-StopIfChanged=false"])' \
  .apps.mariadb.unit
equal "its members are known" .apps.mariadb.members '"balthazar 10.13.13.2\ncasper 10.13.13.4\nmelchior 10.13.13.3\n"'
check "a new member restarts no other" .apps.mariadb.stays
check "the mesh checks that it is synced" '.apps.mariadb.instance.check.command[0] | endswith("mariadb-healthy")' .apps.mariadb.instance
check "two members are warned of" '.apps.mariadb.warned | length == 1'
only "a machine that is not a member is refused" .apps.mariadb.alone "which is not one of its members"
equal "and without the application there is no database of it" .apps.mariadb.own false

# decides SENTENCE SELF WANTED LINES: a member's decision by the states of all. The lines are `NAME STATE DATA SEQNO`, separated by `;`.
decides() {
  local got
  got=$(tr ';' '\n' <<<"$4" | sed 's/^ *//' | bash "$here/../../app_modules/mariadb/members.sh" decide "$2" 2>&1)
  # shellcheck disable=SC2053
  report "$([[ "$got" == $3 ]] && echo ok)" "$1" "$got"
}
decides "the first of empty members founds" a found 'a waiting empty -1; b waiting empty -1; c waiting empty -1'
decides "the others wait for it" b 'wait a has the newest data*' 'a waiting empty -1; b waiting empty -1; c waiting empty -1'
decides "a silent member may have data" a 'wait no member may bootstrap*c (silent)' 'a waiting empty -1; b waiting empty -1; c silent - -1'
decides "a lost disk founds nothing beside a silent member" a 'wait no member*' 'a waiting empty -1; b silent - -1; c silent - -1'
decides "and takes the data of a running member" a join 'a waiting empty -1; b silent - -1; c synced u-1 7'
decides "the newest data win" b found 'a waiting u-1 7; b waiting u-1 9; c stopped u-1 8'
decides "a member with less data waits" a 'wait b has the newest*' 'a waiting u-1 7; b waiting u-1 9; c stopped u-1 8'
decides "positions are compared as numbers" a found 'a waiting u-1 10; b waiting u-1 9; c waiting empty -1'
decides "the first of equal ones founds" a found 'a waiting u-1 9; b waiting u-1 9; c waiting u-1 9'
decides "but a running member has precedence" c found 'a waiting u-1 9; b waiting u-1 9; c alone u-1 9'
decides "no member bootstraps while one recovers its position" a 'wait no member*b (unknown)' 'a waiting u-1 9; b unknown - -1; c waiting u-1 8'
decides "nor while one is starting" a 'wait no member*b (starting)' 'a waiting u-1 9; b starting - -1; c waiting u-1 8'
decides "a member that waits for its turn to stop can be joined" a join 'a waiting u-1 9; b leaving u-1 12; c silent - -1'
decides "a stopping member cannot" a 'wait no member*b (stopping)' 'a waiting u-1 9; b stopping - -1; c waiting u-1 8'
decides "a lost member is not waited for" b found 'a gone - -1; b waiting u-1 9; c waiting u-1 8'
decides "data of another database are not deleted" a 'wait this machine has data of another*' 'a waiting u-1 9; b synced u-2 3; c silent - -1'
decides "nor is a separate database" a 'wait this machine has a separate database*' 'a waiting own 0; b synced u-2 3; c silent - -1'
decides "which otherwise is replicated to the others" b found 'a waiting empty -1; b waiting own 0; c waiting empty -1'
decides "two histories need an operator's decision" a 'wait members have data of different databases*' 'a waiting u-1 9; b waiting u-2 3; c waiting empty -1'
decides "a single member founds" a found 'a waiting empty -1'
