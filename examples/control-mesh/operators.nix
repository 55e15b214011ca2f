# The people who run the cluster. `ssh` is the public key that logs in to every node as root, `age` the recipient that
# the private keys in certs/ are encrypted to (`age-keygen` makes one). An SSH key alone serves for both.
[
  # {
  #   name = "ops";
  #   ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI... ops@example.org";
  #   age = "age1...";
  # }
]
