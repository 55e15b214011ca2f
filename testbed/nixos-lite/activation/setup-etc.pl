#!/usr/bin/perl
# Updates /etc to a system's etc tree: links through /etc/static, copies where a mode is set.
# Usage: setup-etc TREE. Files that an earlier run created and that are no longer in the tree are removed. If
# it is interrupted at any point, the next run completes the work: the record of created files is written
# before any of them, and links are replaced by rename.
use strict;
use warnings;
use Fcntl qw(:mode);
use File::Basename;
use File::Find;
use File::Path qw(make_path);

my $root = $ENV{NIXOS_LITE_ROOT} // '';
my $tree = shift @ARGV or die "usage: setup-etc TREE\n";
my $etc = "$root/etc";
my $static = "$etc/static";
my $state = "$root/var/lib/nixos";
my $manifest = "$state/etc-manifest";
my $masks = "$state/etc-masks";
my $status = 0;

make_path($etc, $state);

sub slurp_lines {
    my ($path) = @_;
    open(my $fh, '<', $path) or return ();
    chomp(my @lines = <$fh>);
    return grep { $_ ne '' } @lines;
}

sub write_lines {
    my ($path, @lines) = @_;
    open(my $fh, '>', "$path.tmp") or die "$path.tmp: $!\n";
    print $fh "$_\n" for @lines;
    close($fh) or die "$path.tmp: $!\n";
    rename("$path.tmp", $path) or die "$path: $!\n";
}

sub atomic_link {
    my ($target, $path) = @_;
    return 1 if -l $path && readlink($path) eq $target;
    if (-d $path && !-l $path) {
        warn "warning: $path is a folder and is left alone\n";
        $status = 1;
        return 0;
    }
    my $tmp = "$path.tmp-nixos";
    unlink $tmp;
    return 1 if symlink($target, $tmp) && rename($tmp, $path);
    warn "warning: cannot make $path: $!\n";
    unlink $tmp;
    $status = 1;
    return 0;
}

# Accounts by name, or +id.
sub id_of {
    my ($text, $lookup) = @_;
    return $1 if $text =~ /^\+(\d+)$/;
    my $id = $lookup->($text);
    return $id if defined $id;
    warn "warning: no account '$text' for a file in /etc\n";
    $status = 1;
    return 0;
}

sub line_of {
    my ($path) = @_;
    my @lines = slurp_lines($path);
    return $lines[0] // '';
}

sub copy_file {
    my ($source, $path, $mode, $uid, $gid) = @_;
    my $content = do {
        local $/;
        open(my $fh, '<', $source) or do { warn "warning: cannot read $source: $!\n"; $status = 1; return; };
        <$fh> // '';
    };
    if (-d $path && !-l $path) {
        warn "warning: $path is a folder and is left alone\n";
        $status = 1;
        return;
    }
    my $tmp = "$path.tmp-nixos";
    unlink $tmp;
    my $old = umask 0077;
    open(my $fh, '>', $tmp) or do { warn "warning: cannot write $tmp: $!\n"; $status = 1; umask $old; return; };
    umask $old;
    print $fh $content;
    close($fh);
    chown($uid, $gid, $tmp) or warn "warning: cannot give $path to $uid:$gid: $!\n";
    chmod(oct($mode), $tmp);
    rename($tmp, $path) or do { warn "warning: cannot make $path: $!\n"; $status = 1; };
}

# The new tree: all its files and links; folders only lead to them.
my @new;
find({ no_chdir => 1, wanted => sub {
    my $path = $File::Find::name;
    return if -d $path && !-l $path;
    (my $name = $path) =~ s{^\Q$tree\E/}{};
    return if $name =~ /^(.*)\.(mode|uid|gid)$/ && (-e "$tree/$1" || -l "$tree/$1") && -e "$tree/$1.mode";
    push @new, $name;
} }, $tree);
@new = sort @new;
my %new = map { $_ => 1 } @new;
my @old = slurp_lines($manifest);
my %masked = map { $_ => 1 } slurp_lines($masks);

# From here on, the files of both trees are ours.
my %all = map { $_ => 1 } (@old, @new);
for my $name (@new) {
    my $path = "$etc/$name";
    $masked{$name} = 1 if -l $path && readlink($path) eq '/dev/null' && !grep { $_ eq $name } @old;
}
write_lines($masks, sort keys %masked);
write_lines($manifest, sort keys %all);

atomic_link($tree, $static) or die "cannot make $static\n";

for my $name (@new) {
    my $path = "$etc/$name";
    make_path(dirname($path));
    if (-e "$tree/$name.mode") {
        my $mode = line_of("$tree/$name.mode");
        if ($mode eq 'direct-symlink') {
            atomic_link(readlink("$tree/$name"), $path);
        } else {
            my $uid = id_of(line_of("$tree/$name.uid"), sub { getpwnam($_[0]) });
            my $gid = id_of(line_of("$tree/$name.gid"), sub { getgrnam($_[0]) });
            copy_file("$tree/$name", $path, $mode, $uid, $gid);
        }
    } else {
        # Links within the tree (a unit's alias, a .wants link) and to the machine's own files are created
        # verbatim: systemd treats a link through another folder as a unit of that name, not as an alias.
        my $target = readlink("$tree/$name");
        atomic_link(defined $target && $target !~ m{^/nix/store/} ? $target : "/etc/static/$name", $path);
    }
}

# Removed files, and folders that this empties. A unit that was masked before is masked again.
for my $name (sort { $b cmp $a } @old) {
    next if $new{$name};
    my $path = "$etc/$name";
    if ($masked{$name}) {
        atomic_link('/dev/null', $path);
        delete $masked{$name};
    } else {
        unlink $path if -l $path || -f $path;
        my $dir = dirname($path);
        while ($dir ne $etc && rmdir $dir) { $dir = dirname($dir); }
    }
}
write_lines($manifest, @new);
write_lines($masks, sort keys %masked);
exit $status;
