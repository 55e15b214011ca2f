#!/usr/bin/perl
# Creates the accounts of a system: users, groups, passwords, homes. Usage: update-users SPEC
# SPEC has a line per account, with tab-separated fields: `-` is null, `=text` a text, 0 and 1 a boolean.
# As in NixOS, accounts that an earlier system declared and this one does not are removed, and an account that
# returns gets its former id, since its files have it. Unlike in NixOS, accounts that existed before any
# system declared them are never removed: they belong to the machine's packages.
use strict;
use warnings;
use File::Path qw(make_path);

my $root = $ENV{NIXOS_LITE_ROOT} // '';
my $spec = shift @ARGV or die "usage: update-users SPEC\n";
my $etc = "$root/etc";
my $state = "$root/var/lib/nixos";
my @user_fields = qw(name uid group description home homeMode createHome isSystemUser shell password
    hashedPassword hashedPasswordFile initialPassword initialHashedPassword expires subUid subGid);

make_path($etc, $state);

sub decode {
    my ($field) = @_;
    return undef if $field eq '-';
    return $field if $field !~ s/^=//;
    my %escapes = ('t' => "\t", 'n' => "\n", '\\' => '\\');
    $field =~ s/\\(.)/$escapes{$1} \/\/ $1/ge;
    return $field;
}

sub read_table {
    my ($file) = @_;
    my (@order, %rows);
    if (open(my $fh, '<', "$etc/$file")) {
        while (my $line = <$fh>) {
            chomp $line;
            my @fields = split(/:/, $line, -1);
            next if $fields[0] eq '';
            push @order, $fields[0] unless $rows{ $fields[0] };
            $rows{ $fields[0] } = \@fields;
        }
    }
    return (\@order, \%rows);
}

sub write_file {
    my ($path, $mode, $text, $gid) = @_;
    if (open(my $old, '<', $path)) {
        local $/;
        my $current = <$old> // '';
        return if $current eq $text;
    }
    my $umask = umask 0077;
    open(my $fh, '>', "$path.tmp-nixos") or die "$path.tmp-nixos: $!\n";
    umask $umask;
    print $fh $text;
    close($fh) or die "$path: $!\n";
    chown(0, $gid // 0, "$path.tmp-nixos");
    chmod($mode, "$path.tmp-nixos");
    rename("$path.tmp-nixos", $path) or die "$path: $!\n";
}

sub write_table {
    my ($file, $mode, $order, $rows, $gid) = @_;
    write_file("$etc/$file", $mode, join('', map { join(':', @{ $rows->{$_} }) . "\n" } grep { $rows->{$_} } @$order), $gid);
}

sub read_names {
    my ($path) = @_;
    open(my $fh, '<', $path) or return ();
    chomp(my @lines = <$fh>);
    return grep { $_ ne '' } @lines;
}

# Ids of current and former accounts: name to id.
sub read_ids { return map { my ($name, $id) = split(/\t/); ($name => $id) } read_names($_[0]); }
sub write_ids { my ($path, $ids) = @_; write_file($path, 0600, join('', map { "$_\t$ids->{$_}\n" } sort keys %$ids)); }

# A free id: downwards from 999 for the system, upwards from 1000 for users. The id of a former account is not
# free, since files may have it.
sub free_id {
    my ($used, $map, $system) = @_;
    my %had = map { $_ => 1 } values %$map;
    my @range = $system ? reverse(400 .. 999) : (1000 .. 29999);
    for my $id (@range) {
        next if $used->{$id} || $had{$id};
        $used->{$id} = 1;
        return $id;
    }
    die "no free id\n";
}

sub salted {
    my ($password) = @_;
    my @chars = ('a' .. 'z', 'A' .. 'Z', 0 .. 9, '.', '/');
    return crypt($password, '$6$' . join('', map { $chars[ rand @chars ] } 1 .. 16) . '$');
}

my ($mutable, @groups, @users) = (1);
open(my $fh, '<', $spec) or die "$spec: $!\n";
while (my $line = <$fh>) {
    chomp $line;
    my ($kind, @fields) = split(/\t/, $line, -1);
    @fields = map { decode($_) } @fields;
    if ($kind eq 'mutable') { $mutable = $fields[0]; }
    elsif ($kind eq 'group') { push @groups, { name => $fields[0], gid => $fields[1], members => $fields[2] }; }
    elsif ($kind eq 'user') {
        my %user;
        @user{@user_fields} = @fields;
        push @users, \%user;
    }
}
close($fh);

# Groups.
my ($group_order, $group_rows) = read_table('group');
my %gids_used = map { $_->[2] => 1 } values %$group_rows;
my %was_group = map { $_ => 1 } read_names("$state/declarative-groups");
my %declared_group = map { $_->{name} => 1 } @groups;
my %gid_map = read_ids("$state/gid-map");
my %machine_group = map { $_ => 1 } read_names("$state/machine-groups");
for my $name (keys %declared_group) {
    $machine_group{$name} = 1 if $group_rows->{$name} && !$was_group{$name};
}
for my $name (keys %was_group) {
    delete $group_rows->{$name} if !$declared_group{$name} && !$machine_group{$name};
}
for my $g (@groups) {
    my $name = $g->{name};
    my $row = $group_rows->{$name};
    my @members = split(/,/, $g->{members} // '');
    if ($row) {
        if (defined $g->{gid} && $g->{gid} != $row->[2]) {
            warn "warning: not applying GID change of group '$name' ($row->[2] -> $g->{gid}) in /etc/group\n" if $was_group{$name};
        }
        # Members that packages of the machine added are kept if the group was theirs.
        my %seen = map { $_ => 1 } @members;
        push @members, grep { $_ ne '' && !$seen{$_} } split(/,/, $row->[3] // '') if $mutable && !$was_group{$name};
        $row->[3] = join(',', @members);
    } else {
        my $gid = $g->{gid} // $gid_map{$name};
        if (!defined $gid || $gids_used{$gid}) { $gid = free_id(\%gids_used, \%gid_map, 1); }
        $gids_used{$gid} = 1;
        $group_rows->{$name} = [ $name, 'x', $gid, join(',', @members) ];
        push @$group_order, $name unless grep { $_ eq $name } @$group_order;
    }
    $gid_map{$name} = $group_rows->{$name}[2];
}

# Users.
my ($user_order, $user_rows) = read_table('passwd');
my ($shadow_order, $shadow_rows) = read_table('shadow');
my %uids_used = map { $_->[2] => 1 } values %$user_rows;
my %was_user = map { $_ => 1 } read_names("$state/declarative-users");
my %declared_user = map { $_->{name} => 1 } @users;
my %uid_map = read_ids("$state/uid-map");
my %machine_user = map { $_ => 1 } read_names("$state/machine-users");
for my $name (keys %declared_user) {
    $machine_user{$name} = 1 if $user_rows->{$name} && !$was_user{$name};
}
for my $name (keys %was_user) {
    next if $declared_user{$name} || $machine_user{$name};
    warn "removing user '$name'\n" if $user_rows->{$name};
    delete $user_rows->{$name};
    delete $shadow_rows->{$name};
}
my $today = int(time / 86400);
my @homes;
for my $u (@users) {
    my $name = $u->{name};
    my $row = $user_rows->{$name};
    my $existed = defined $row;
    my $gid = $group_rows->{ $u->{group} } ? $group_rows->{ $u->{group} }[2] : $u->{group};
    my $uid = $existed ? $row->[2] : $u->{uid} // $uid_map{$name};
    warn "warning: not applying UID change of user '$name' ($uid -> $u->{uid}) in /etc/passwd\n"
        if $existed && defined $u->{uid} && $u->{uid} != $uid && $was_user{$name};
    if (!defined $uid || (!$existed && $uids_used{$uid})) { $uid = free_id(\%uids_used, \%uid_map, $u->{isSystemUser}); }
    $uids_used{$uid} = 1;
    $uid_map{$name} = $uid;
    my $shell = defined $u->{shell} ? $u->{shell} : ($existed ? $row->[6] : '/usr/sbin/nologin');
    $user_rows->{$name} = [ $name, 'x', $uid, $gid, $u->{description}, $u->{home}, $shell ];
    push @$user_order, $name unless grep { $_ eq $name } @$user_order;

    # The password: always that of the system, or only for a new account if accounts are mutable.
    my $hash;
    if (defined $u->{hashedPasswordFile} && -e "$root$u->{hashedPasswordFile}") {
        if (open(my $file, '<', "$root$u->{hashedPasswordFile}")) {
            chomp($hash = <$file> // '');
        }
    } elsif (defined $u->{password}) {
        $hash = salted($u->{password}) unless $existed && $mutable;
    } elsif (defined $u->{hashedPassword}) {
        $hash = $u->{hashedPassword};
    } elsif (!$existed && defined $u->{initialHashedPassword}) {
        $hash = $u->{initialHashedPassword};
    } elsif (!$existed && defined $u->{initialPassword}) {
        $hash = salted($u->{initialPassword});
    }
    my $shadow = $shadow_rows->{$name};
    my $had_password = defined $shadow;
    if (!$shadow) {
        $shadow = [ $name, '!', '1', '', '', '', '', '', '' ];
        push @$shadow_order, $name unless grep { $_ eq $name } @$shadow_order;
        $shadow_rows->{$name} = $shadow;
    }
    $shadow->[1] = $hash if defined $hash && (!$mutable || !$had_password || !$was_user{$name});
    $shadow->[1] = '!' if !$mutable && !defined $hash;
    $shadow->[7] = defined $u->{expires} && $u->{expires} =~ /^(\d+)-(\d+)-(\d+)$/ ? days($1, $2, $3) : '';
    push @homes, [ $u->{home}, $uid, $gid, $u->{homeMode} ] if $u->{createHome};
}

# Converts a date to days since 1970, without a module.
sub days {
    my ($y, $m, $d) = @_;
    $y-- if $m <= 2;
    my $era = int($y / 400);
    my $yoe = $y - $era * 400;
    my $doy = int((153 * ($m + ($m > 2 ? -3 : 9)) + 2) / 5) + $d - 1;
    my $doe = $yoe * 365 + int($yoe / 4) - int($yoe / 100) + $doy;
    return $era * 146097 + $doe - 719468;
}

# The machine's own accounts are recorded before any of them is ours,
write_file("$state/machine-users", 0600, join('', map { "$_\n" } sort keys %machine_user));
write_file("$state/machine-groups", 0600, join('', map { "$_\n" } sort keys %machine_group));
# and all that were or are declared are recorded as ours, whatever happens from here on.
write_file("$state/declarative-users", 0600, join('', map { "$_\n" } sort keys %{ { %was_user, %declared_user } }));
write_file("$state/declarative-groups", 0600, join('', map { "$_\n" } sort keys %{ { %was_group, %declared_group } }));
write_ids("$state/uid-map", \%uid_map);
write_ids("$state/gid-map", \%gid_map);

my $shadow_gid = $group_rows->{shadow} ? $group_rows->{shadow}[2] : 0;
write_table('group', 0644, $group_order, $group_rows);
write_table('passwd', 0644, $user_order, $user_rows);
write_table('shadow', 0640, $shadow_order, $shadow_rows, $shadow_gid);

for my $kind ([ 'subuid', 'subUid' ], [ 'subgid', 'subGid' ]) {
    my ($file, $field) = @$kind;
    my @declared = map { my $u = $_; map { "$u->{name}:$_" } split(/,/, $u->{$field} // '') } @users;
    next unless @declared;
    my @kept = grep { my ($name) = split(/:/); !grep { (split(/:/))[0] eq $name } @declared } read_names("$etc/$file");
    write_file("$etc/$file", 0644, join('', map { "$_\n" } @kept, @declared));
}

for my $home (@homes) {
    my ($path, $uid, $gid, $mode) = @$home;
    my $new = !-e "$root$path";
    make_path("$root$path", { mode => 0755 }) if $new;
    chown($uid, $gid, "$root$path");
    chmod(oct($mode), "$root$path");
}

# Removes accounts that only an earlier system declared.
write_file("$state/declarative-users", 0600, join('', map { "$_->{name}\n" } @users));
write_file("$state/declarative-groups", 0600, join('', map { "$_->{name}\n" } @groups));
