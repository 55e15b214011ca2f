# Example keys that open nothing: the test makes its own operator.
[
  {
    name = "ops";
    ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDLX3uQO8FQykbg987i09xX3HSaD8nGbceAJyPuKD89x";
    age = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
  }
]
