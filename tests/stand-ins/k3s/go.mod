module machinist/stand-ins/k3s

go 1.24
