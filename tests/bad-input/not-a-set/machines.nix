[ "balthazar" "casper" ]
