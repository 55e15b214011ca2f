# An application as a container, from the mesh's registry. A machine of the sandbox can provide neither networks nor
# control groups to containers.
{
  machinist.apps.hello = {
    group = "frontends";
    port = 9200;
    check.http = "/ping";
    env = { prefix = "HELLO"; protocol = "http"; };
    drainSeconds = 5;
    container = {
      image = "localhost:5000/hello@DIGEST";
      network = "host";
      cmd = [ "sh" "-c" "exec busybox httpd -f -p $ADDRESS:$PORT -h /www" ];
      settings.extraOptions = [ "--cgroups=disabled" ];
    };
  };
}
