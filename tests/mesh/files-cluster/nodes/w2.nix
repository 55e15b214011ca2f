{
  machinist.mesh.leaseSeconds = 4;
  machinist.apps.web = {
    group = "services";
    drainSeconds = 2;
  };
}
