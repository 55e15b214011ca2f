{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    a = { ip = "10.13.13.2"; ssh.host = "root@192.168.1.12:22"; };
    b = { ip = "10.13.13.3"; ssh = { host = "-oProxyCommand=reboot"; user = ""; }; };
  };
}
