# A member of the database.
{
  machinist.mesh.leaseSeconds = 4;
  machinist.apps.mariadb = {
    replicatesOver = "overlay";
    databases.notes.passwordFile = "/var/lib/secrets/notes";
    drainSeconds = 2;
  };
  services.mysql.settings.mysqld.innodb_buffer_pool_size = "64M";
}
