import ../../../../tests/mesh/worker.nix
