# The operator of all cases; the private parts of these keys were thrown away.
[
  {
    name = "ops";
    ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL+Ei1DgdJ0PK2RG3FAKYtGL7OQjrssbvvgem59iU7ci ops";
    age = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu";
  }
]
