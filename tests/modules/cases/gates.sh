# shellcheck shell=bash
# Gates: scripts in the system's closure, listed in a file that the activation reads.

equal "a node without gates has no list" .nodes.balthazar.gates null
equal "a gate is a name, its seconds and a script, sorted by name" \
  '.variants.gates.gates | split("\n") | map(split(" ")[0:2] | join(" "))' '["db 30","web 7",""]'
only "a gate has one check" .failed.twoGates "machinist.gates.both on balthazar has both a command and a URL"
only "and not none" .failed.twoGates "machinist.gates.none on balthazar has neither a command nor a URL"
