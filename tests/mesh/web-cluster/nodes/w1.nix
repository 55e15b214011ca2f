{
  machinist.mesh.leaseSeconds = 4;
  machinist.apps.web = {
    group = "services";
    greeting = "one";
    startSeconds = 10;
    drainSeconds = 10;
  };
}
