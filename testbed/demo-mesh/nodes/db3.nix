{
  machinist.apps.mariadb.databases.notes.passwordFile = "/var/lib/secrets/notes";
  services.mysql.settings.mysqld.innodb_buffer_pool_size = "64M";
}
