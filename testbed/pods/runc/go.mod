module machinist.dev/testbed/pods/runc

go 1.26.0
