module machinist.dev/testbed/images/tool

go 1.26.0
