{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network.nodes = "172.16.0.0/24";

  machines = {
    web = {
      ip = "172.16.0.2";
      gates = {
        page = { http = "127.0.0.1:8080/health"; };
        db = { command = [ "pg_isready" ]; http = "http://127.0.0.1/"; };
        slow = { command = [ "true" ]; timeout = 3600; };
        nothing = { };
        Web.command = [ "true" ];
        odd = { command = [ "true" ]; status = 200; };
      };
    };
  };
}
