# shellcheck shell=bash
# Runs one of the reading scripts of machinist as root, and nothing else: the forced command of a key in
# `machinist.readers`. Set before these lines: table, a file with a line for each script, `SHA256 VARIABLES NAME`, where
# VARIABLES are names joined by commas, or `-`.
#
# The command and its input are those that machinist sends to any host (rust/remote/src/run.rs and frame.rs): a fixed
# line that evaluates the script from standard input. Here the script is taken apart first: marks around it, assignments
# of allowed variables to plain words, and a body whose digest is in the table. What is not exactly that does not run.
set -uf
export LC_ALL=C
PATH=/run/wrappers/bin:/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin
IFS=$' \t\n'
newline=$'\n'

refuse() {
  echo "machinist-read: $1" >&2
  exit 77
}

# Without root's rights it begins again by sudo, which allows the login user this program.
if [ "$EUID" != 0 ]; then
  case ${SSH_ORIGINAL_COMMAND-} in
    "exec sudo -n -- timeout "*) exec sudo -n -- "$0" "$SSH_ORIGINAL_COMMAND" ;;
    *) refuse "this key may only read: \`machinist status\`, \`drift\`, \`plan\` and \`logs\`" ;;
  esac
fi
command=${1-${SSH_ORIGINAL_COMMAND-}}
line='^exec (sudo -n -- )?timeout -k 10 ([0-9]{1,9}) /bin/sh -c '"'"'s=\$\(head -c ([0-9]{1,6})\) && eval "\$s"'"'"'$'
[[ $command =~ $line ]] || refuse "this key may only read: \`machinist status\`, \`drift\`, \`plan\` and \`logs\`"
seconds=$((10#${BASH_REMATCH[2]}))
# For `timeout` that is no limit.
[ "$seconds" != 0 ] || refuse "a command needs a time limit"
length=$((10#${BASH_REMATCH[3]}))
# The letter keeps newlines at the end. A NUL byte is lost here, and the length is wrong then.
text=$(head -c "$length" && printf x) 2>/dev/null
text=${text%x}
[ "${#text}" = "$length" ] || refuse "the script did not arrive completely"

begin="{ unset s t BASH_ENV ENV CDPATH GREP_OPTIONS; umask 022; export LC_ALL=C SHLVL=3; trap t=1 TERM${newline}printf %s '"
mark=${text:${#begin}:33}
marked=$'^\x1e[0-9a-f]{32}$'
[[ $mark =~ $marked ]] || refuse "this is not a script of machinist, or one of another version: deploy the node with that"
begin+="${mark}b'; printf %s '${mark}b' >&2${newline}(unset s${newline}"
end="${newline})${newline}s=\$?; printf %s '${mark}e'; printf %s '${mark}e' >&2${newline}"
end+="[ -z \"\$t\" ] || { trap - TERM; kill -TERM \$\$; }; exit \$s${newline}}"
script=${text#"$begin"}
script=${script%"$end"}
[ "$text" = "$begin$script$end" ] || refuse "this is not a script of machinist, or one of another version: deploy the node with that"

# A refusal within the marks is the result of the script, so that machinist prints it.
refuse_script() {
  printf '%sb%se' "$mark" "$mark"
  printf '%sb%s\n%se' "$mark" "machinist-read: $1" "$mark" >&2
  exit 77
}
unknown() {
  refuse_script "this key may only read, and the system of this node does not know that script as one that only reads; with another version of machinist, deploy the node with that"
}

declare -A variables=() names=()
while read -r digest allowed name; do
  variables[$digest]=$allowed
  names[$digest]=$name
done <"$table"

rest=$script
# Commands that a Ctrl-C ends print the process first.
printed="printf '%s\\n' \"\$PPID\"${newline}"
rest=${rest#"$printed"}
assigned=()
assignment='^([a-z][a-z_]*)='
harmless='^[A-Za-z0-9_./:@%+,=-]+'
while :; do
  digest=$(printf %s "$rest" | sha256sum) || refuse_script "sha256sum failed"
  digest=${digest%% *}
  [ -z "${names[$digest]-}" ] || break
  [[ $rest =~ $assignment ]] || unknown
  assigned+=("${BASH_REMATCH[1]}")
  rest=${rest:${#BASH_REMATCH[0]}}
  # Words as `quote` of rust/remote writes them: harmless characters, or quoted text without an end of a quote.
  while [ "${rest:0:1}" != "$newline" ]; do
    if [ "${rest:0:1}" = "'" ]; then
      rest=${rest:1}
      case $rest in *"'"*) rest=${rest#*"'"} ;; *) unknown ;; esac
    elif [ "${rest:0:2}" = "\\'" ]; then
      rest=${rest:2}
    elif [[ $rest =~ $harmless ]]; then
      rest=${rest:${#BASH_REMATCH[0]}}
    else
      unknown
    fi
  done
  rest=${rest:1}
done
for name in ${assigned[@]+"${assigned[@]}"}; do
  case ,${variables[$digest]}, in *",$name,"*) ;; *) unknown ;; esac
done

logger --tag machinist-read -- "${names[$digest]}, for ${SUDO_USER-${USER-root}} from ${SSH_CONNECTION-sudo}" 2>/dev/null || true
export s=$text
exec timeout -k 10 "$seconds" /bin/sh -c 'eval "$s"'
