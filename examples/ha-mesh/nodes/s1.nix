{
  services.postgresql.ensureDatabases = [ "shop" ];
}
