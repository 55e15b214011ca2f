# One step of the check of a database. Set before these lines: protocol, step (write, read or remove), name (of the database or
# key), value, host and port. `write` removes what an earlier test left under this name, and lets the node itself remove all
# after two minutes, whatever becomes of this test. `read` prints the value.
export PATH=/run/current-system/sw/bin:$PATH
as() {
  user=$1
  shift
  cd / && setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
}
# The user of MariaDB's own processes is its administrator at the socket.
mysql_say() {
  as mysql mariadb --no-defaults --socket=/run/mysqld/mysqld.sock --connect-timeout=5 --batch --skip-column-names --execute "$1"
}
postgresql_say() {
  as postgres psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --port="$port" --command="$1" postgres
}
# Prints the first line of the answer; that of a value has its length first.
redis_say() {
  timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 1
    printf "%s\r\n" "$3" >&3
    IFS=$'"'\\\\r'"' read -r -t 3 answer <&3
    case $answer in \$-1) answer= ;; \$*) IFS=$'"'\\\\r'"' read -r -t 3 answer <&3 ;; esac
    printf "%s\n" "$answer"' bash "$host" "$port" "$1" | tr -d '\r'
}
later() {
  unit=machinist-test-$name
  systemctl stop "$unit.timer" 2>/dev/null
  case $1 in
    begin) systemd-run --quiet --collect --unit="$unit" --on-active=120 --setenv=PATH="$PATH" sh -c "$2" ;;
  esac
}
case $protocol-$step in
  mysql-write)
    later begin "cd /; exec setpriv --reuid=mysql --regid=mysql --clear-groups mariadb --no-defaults --socket=/run/mysqld/mysqld.sock --execute 'DROP DATABASE IF EXISTS $name'" || exit 1
    mysql_say "DROP DATABASE IF EXISTS $name; CREATE DATABASE $name; CREATE TABLE $name.t (id INT PRIMARY KEY, value VARCHAR(64)) ENGINE=InnoDB; INSERT INTO $name.t VALUES (1, '$value')"
    ;;
  # Members of a replicated database apply a write after it was acknowledged: the read waits for that.
  mysql-read) mysql_say "SET SESSION wsrep_sync_wait = 1; SELECT value FROM $name.t WHERE id = 1" ;;
  mysql-remove) mysql_say "DROP DATABASE IF EXISTS $name" && later end ;;
  postgresql-write)
    later begin "cd /; exec setpriv --reuid=postgres --regid=postgres --clear-groups psql --no-psqlrc --quiet --port=$port --command='DROP SCHEMA IF EXISTS $name CASCADE' postgres" || exit 1
    postgresql_say "SET client_min_messages = error; DROP SCHEMA IF EXISTS $name CASCADE; CREATE SCHEMA $name; CREATE TABLE $name.t (id int PRIMARY KEY, value text); INSERT INTO $name.t VALUES (1, '$value')"
    ;;
  postgresql-read) postgresql_say "SELECT value FROM $name.t WHERE id = 1" ;;
  postgresql-remove) postgresql_say "SET client_min_messages = error; DROP SCHEMA IF EXISTS $name CASCADE" && later end ;;
  redis-write)
    answer=$(redis_say "SET $name $value EX 120")
    case $answer in
      +OK) ;;
      -NOAUTH*) exit 77 ;;
      *) echo "redis answers: ${answer:-nothing}" >&2; exit 1 ;;
    esac
    ;;
  redis-read) redis_say "GET $name" ;;
  redis-remove) [ -n "$(redis_say "DEL $name")" ] ;;
esac
