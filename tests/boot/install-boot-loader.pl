#!/usr/bin/perl
# install-boot-loader SYSTEM: writes the menu of the boot loader, with an entry for each generation of the system profile,
# and SYSTEM as its default, as NixOS' installers of systemd-boot and GRUB do. The loader itself is there already: this
# double never writes to a disk's first sectors.
use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA qw(sha256_hex);
use File::Basename qw(basename);
use File::Path qw(make_path);
use POSIX qw(strftime);

my ($loader, $boot, $limit, $timeout) = ('@loader@', '@boot@', '@limit@', '@timeout@');
my $default = abs_path(shift @ARGV // '') or die "usage: install-boot-loader SYSTEM\n";
my $profile = '/nix/var/nix/profiles/system';

sub slurp { my ($path) = @_; local $/; open(my $file, '<', $path) or die "$path: $!\n"; my $text = <$file>; return $text // ''; }

# A new file is complete under its name, after a power failure, too.
sub put {
    my ($path, $text) = @_;
    open(my $file, '>', "$path.tmp") or die "$path.tmp: $!\n";
    print $file $text or die "$path.tmp: $!\n";
    close($file) or die "$path.tmp: $!\n";
    system('sync', "$path.tmp") == 0 or die "sync $path.tmp\n";
    rename("$path.tmp", $path) or die "$path: $!\n";
}
# Copies a kernel or initrd, and returns its name in the directory.
sub place {
    my ($directory, $path, $suffix) = @_;
    my $source = abs_path($path) or die "$path is not there\n";
    my $name = ($source =~ m{^/nix/store/([^/]+)(?:/(.*))?$}) ? join('-', grep { defined } $1, $2) : basename($source);
    $name =~ s{/}{-}g;
    $name .= $suffix;
    put("$directory/$name", slurp($source)) if !-e "$directory/$name";
    return $name;
}
sub remove_others {
    my ($keep, @paths) = @_;
    for my $path (@paths) { unlink($path) if !$keep->{ basename($path) }; }
}

my %number = map { m{-(\d+)-link$} ? ($1 => $_) : () } glob("$profile-*-link");
my @numbers = sort { $b <=> $a } keys %number;
splice(@numbers, $limit) if $limit ne '' && @numbers > $limit;
die "no generation of the system profile: not removing all entries\n" if !@numbers;

if ($loader eq 'systemd-boot') {
    my ($entries, $kernels) = ("$boot/loader/entries", "$boot/EFI/nixos");
    make_path($entries, $kernels);
    my (%entry, %kernel, $default_entry);
    for my $number (reverse @numbers) {
        my $system = abs_path($number{$number});
        next if !-e "$system/kernel";
        my ($linux, $initrd) = map { place($kernels, "$system/$_", '.efi') } qw(kernel initrd);
        $kernel{$_} = 1 for $linux, $initrd;
        my $date = strftime('%F', localtime((lstat($number{$number}))[10]));
        my $text = join("\n", 'title NixOS',
            "version Generation $number NixOS " . slurp("$system/nixos-version") . ", built on $date",
            "linux /EFI/nixos/$linux", "initrd /EFI/nixos/$initrd",
            "options init=$system/init " . slurp("$system/kernel-params"), 'sort-key nixos');
        my $name = 'nixos-' . sha256_hex($text) . '.conf';
        put("$entries/$name", $text);
        $entry{$name} = 1;
        $default_entry = $name if $system eq $default;
    }
    # A default that is no generation leaves the newest entry of the menu.
    put("$boot/loader/loader.conf", "timeout $timeout\ndefault " . ($default_entry // 'nixos-*') . "\nconsole-mode keep\n");
    remove_others(\%entry, glob("$entries/nixos-*.conf"));
    remove_others(\%kernel, glob("$kernels/*.efi"));
} else {
    my $kernels = "$boot/kernels";
    make_path($kernels, "$boot/grub");
    # GRUB's name of the partition, which it searches for itself in NixOS.
    my ($disk, %kernel) = ('$root');
    my $entry = sub {
        my ($title, $system) = @_;
        my ($linux, $initrd) = map { place($kernels, "$system/$_", '') } qw(kernel initrd);
        $kernel{$_} = 1 for $linux, $initrd;
        return qq[menuentry "$title" --class nixos --unrestricted {\n]
            . "  linux ($disk)/boot/kernels/$linux init=$system/init " . slurp("$system/kernel-params") . "\n"
            . "  initrd ($disk)/boot/kernels/$initrd\n}\n\n";
    };
    my $text = <<"EOF";
if [ -s \$prefix/grubenv ]; then
  load_env
fi
if [ "\${next_entry}" ]; then
  set default="\${next_entry}"
  set next_entry=
  save_env next_entry
  set timeout=1
  set boot_once=true
else
  set default=0
  set timeout=$timeout
fi
EOF
    $text .= $entry->('NixOS', $default);
    $text .= qq[submenu "NixOS - All configurations" --class submenu {\n];
    for my $number (@numbers) {
        my $system = abs_path($number{$number});
        next if !-e "$system/kernel";
        my $date = strftime('%F', localtime((lstat($number{$number}))[9]));
        $text .= $entry->("NixOS - Configuration $number ($date - " . slurp("$system/nixos-version") . ')', $system);
    }
    $text .= "}\n";
    put("$boot/grub/grub.cfg", $text);
    remove_others(\%kernel, glob("$kernels/*"));
}
system('sync', '-f', $boot) == 0 or die "sync $boot\n";
