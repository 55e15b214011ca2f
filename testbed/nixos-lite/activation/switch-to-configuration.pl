#!/usr/bin/perl
# switch-to-configuration ACTION: switches the running machine to this system, as NixOS's program of the same
# name does. Units are stopped, restarted, reloaded or started depending on the differences between the unit
# files of the current system and this one. Exit status: 0, 1 wrong use or refused by a pre-switch check, 2 activation
# failed, 4 units failed, 100 only a boot can bring this system.
use strict;
use warnings;
use Fcntl qw(:flock);
use File::Path qw(make_path);

my $toplevel = '@out@';
# Tests set another root; then the machine is accessed only by the systemctl in PATH.
my $root = $ENV{NIXOS_LITE_ROOT} // '';
my $action = shift @ARGV // '';
my $new_dir = "$toplevel/etc/systemd/system";
my $current_dir = "$root/run/current-system/etc/systemd/system";
my $run = "$root/run/nixos";
my %list_file = map { $_ => "$run/$_-list" } qw(start restart reload);

if (!grep { $_ eq $action } qw(check switch boot test dry-activate)) {
    (my $name = $0) =~ s{.*/}{};
    print STDERR <<"EOF";
Usage: $name [check|switch|boot|test|dry-activate]
check:        run pre-switch checks and exit
switch:       make the configuration the boot default and activate now
boot:         make the configuration the boot default
test:         activate the configuration, but don't make it the boot default
dry-activate: show what would be done if this configuration were activated

EOF
    exit 1;
}
if ($root eq '') {
    if ($> != 0) { print STDERR "switch-to-configuration must be run as the root user\n"; exit 1; }
    # nixos-lite is only for disposable machines: it would overwrite the accounts and /etc of a real one.
    if (!-e '/run/systemd/container' && !-e '/etc/nixos-lite' && !$ENV{container}) {
        print STDERR "This is not a NixOS installation of nixos-lite: systems of this test double are activated in a container only (or where /etc/nixos-lite exists).\n";
        exit 1;
    }
}
my $dry = $action eq 'dry-activate';
$ENV{NIXOS_ACTION} = $action;
$ENV{PATH} = ($root eq '' ? '' : "$ENV{PATH}:") . '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
$ENV{LC_ALL} = 'C';
$ENV{SYSTEMD_PAGER} = 'cat';
$| = 1;

make_path($run);
open(my $lock, '>>', "$run/switch-to-configuration.lock") or die "Could not open lock\n";
if (!flock($lock, LOCK_EX | LOCK_NB)) { print STDERR "Could not acquire lock\n"; exit 1; }

if (($ENV{NIXOS_NO_CHECK} // '') ne '1' && $ENV{PRE_SWITCH_CHECK}) {
    if (system($ENV{PRE_SWITCH_CHECK}, $toplevel, $action) != 0) {
        print STDERR "Pre-switch checks failed\n";
        exit 1;
    }
}
exit 0 if $action eq 'check';
if (($action eq 'switch' || $action eq 'boot') && $ENV{INSTALL_BOOTLOADER}) {
    if (system($ENV{INSTALL_BOOTLOADER}, $toplevel) != 0) {
        print STDERR "Failed to install bootloader\n";
        exit 1;
    }
}
system('sync', '-f', '/nix/store') if !$dry && $root eq '';
exit 0 if $action eq 'boot';

sub content {
    my ($path) = @_;
    open(my $fh, '<', $path) or return undef;
    local $/;
    return <$fh> // '';
}
my $interface = content("$toplevel/init-interface-version");
if (!defined $interface) { print STDERR "Error: File init-interface-version should exist\n"; exit 1; }
# A machine without any system is the sandbox's own Debian, which a first deploy turns into NixOS.
if (-e "$root/run/current-system" && (content("$root/run/current-system/init-interface-version") // '') ne $interface) {
    print STDERR <<"EOF";
Warning: the new NixOS configuration has an ‘init’ that is
incompatible with the current configuration.  The new configuration
won't take effect until you reboot the system.

EOF
    exit 100;
}

# The unit files.

# Adds the sections of a unit file to a hash: section to key to list of values; an empty value clears the list.
sub parse_file {
    my ($info, $path) = @_;
    open(my $fh, '<', $path) or return;
    my ($section, $pending) = ('', '');
    while (my $line = <$fh>) {
        chomp $line;
        if ($pending eq '' && $line =~ /^\s*(?:[#;]|$)/) { next; }
        next if $pending ne '' && $line =~ /^\s*[#;]/;
        $line = $pending . $line;
        $pending = '';
        if ($line =~ s/\\$/ /) { $pending = $line; next; }
        if ($line =~ /^\s*\[(.*)\]\s*$/) { $section = $1; $info->{$section} //= {} if $section ne 'Install'; next; }
        next if $section eq '' || $section eq 'Install';
        if ($line =~ /^\s*([^=]*?)\s*=\s*(.*?)\s*$/) {
            my ($key, $value) = ($1, $2);
            if ($value eq '') { $info->{$section}{$key} = []; }
            else { push @{ $info->{$section}{$key} }, $value; }
        }
    }
}

sub drop_ins {
    my ($unit_path) = @_;
    opendir(my $dh, "$unit_path.d") or return ();
    return map { "$unit_path.d/$_" } sort grep { /\.conf$/ } readdir($dh);
}

# A unit instance's template, or the unit itself.
sub base_of {
    my ($unit) = @_;
    return "$1@.$2" if $unit =~ /^(.*?)@[^\.]*\.(.*)$/ && !-e "$current_dir/$unit" && !-e "$new_dir/$unit";
    return $unit;
}

sub is_masked { my ($path) = @_; return -l $path && (readlink($path) // '') eq '/dev/null'; }

# True if a tree of units defines or extends a unit.
sub in_tree {
    my ($dir, $unit) = @_;
    return 0 if is_masked("$dir/$unit");
    return -e "$dir/$unit" || scalar drop_ins("$dir/$unit");
}

# A unit as defined by a tree. If the tree only extends it, the machine's own file is the base.
sub parse_unit {
    my ($dir, $unit, $machine_file) = @_;
    my %info;
    my $base = base_of($unit);
    my $file = -e "$dir/$base" ? "$dir/$base" : $machine_file;
    parse_file(\%info, $file) if defined $file;
    parse_file(\%info, $_) for drop_ins("$dir/$base");
    if ($base ne $unit) { parse_file(\%info, $_) for drop_ins("$dir/$unit"); }
    return \%info;
}

sub bool {
    my ($info, $section, $key, $default) = @_;
    my $values = $info->{$section}{$key} or return $default;
    return $default unless @$values;
    return $values->[-1] =~ /^(?:1|yes|true|on)$/ ? 1 : 0;
}

# Keys whose change requires no restart.
my %ignored = map { $_ => 1 } qw(X-Reload-Triggers Description Documentation OnFailure OnSuccess OnFailureJobMode
    IgnoreOnIsolate StopWhenUnneeded RefuseManualStart RefuseManualStop AllowIsolate CollectMode SourcePath);

# Returns 'equal', 'restart' or 'reload'.
sub compare_units {
    my ($old, $new) = @_;
    my $result = 'equal';
    my %sections = map { $_ => 1 } (keys %$old, keys %$new);
    for my $section (sort keys %sections) {
        my ($o, $n) = ($old->{$section} // {}, $new->{$section} // {});
        # An added or removed section counts, except for [Unit] and for a [Service] with nothing but
        # ExecReload.
        for my $pair ([ $old, $n ], [ $new, $o ]) {
            my ($without, $with) = @$pair;
            next if $without->{$section} || $section eq 'Unit';
            next if $section eq 'Service' && join(' ', keys %$with) eq 'ExecReload';
            return 'restart';
        }
        my %keys = map { $_ => 1 } (keys %$o, keys %$n);
        for my $key (keys %keys) {
            my ($before, $after) = ($o->{$key}, $n->{$key});
            next if $before && $after && join("\0", @$before) eq join("\0", @$after);
            if ($section eq 'Unit' && $key eq 'X-Reload-Triggers') { $result = 'reload' if $after; next; }
            next if $section eq 'Unit' && $ignored{$key};
            if ($section eq 'Service' && $key eq 'ExecReload') { $result = 'reload' if $after; next; }
            if ($section eq 'Mount' && $key eq 'Options' && $before && $after) { $result = 'reload'; next; }
            return 'restart';
        }
    }
    return $result;
}

# Active units of systemd.

# Unit to { state, substate, fragment }, of all units that are not inactive.
sub active_units {
    my %units;
    open(my $fh, '-|', 'systemctl', 'show', '--property=Id,ActiveState,SubState,FragmentPath,Following,ExecMainStatus', '*')
        or die "cannot ask systemd for its units: $!\n";
    my %block;
    my $finish = sub {
        if ($block{Id} && ($block{Following} // '') eq '' && ($block{ActiveState} // 'inactive') ne 'inactive') {
            $units{ $block{Id} } = {
                state => $block{ActiveState},
                substate => $block{SubState} // '',
                fragment => $block{FragmentPath} // '',
                status => $block{ExecMainStatus} // 0,
            };
        }
        %block = ();
    };
    while (my $line = <$fh>) {
        chomp $line;
        if ($line eq '') { $finish->(); next; }
        $block{$1} = $2 if $line =~ /^([^=]+)=(.*)$/;
    }
    $finish->();
    close($fh) or die "systemctl show failed: is systemd running?\n";
    return \%units;
}

# The plan, including the unfinished work of an interrupted run.

sub read_list {
    my ($path) = @_;
    open(my $fh, '<', $path) or return {};
    chomp(my @lines = <$fh>);
    return { map { $_ => 1 } grep { $_ ne '' } @lines };
}

my (%stop, %skip, %filter);
my ($start, $restart, $reload) = map { read_list($list_file{$_}) } qw(start restart reload);

sub record {
    my ($list, $unit) = @_;
    return if $dry;
    open(my $fh, '>>', $list_file{$list}) or return;
    print $fh "$unit\n";
}
sub plan_start { $start->{ $_[0] } = 1; record('start', $_[0]); }
sub plan_restart { $restart->{ $_[0] } = 1; record('restart', $_[0]); }
sub plan_reload { $reload->{ $_[0] } = 1; record('reload', $_[0]); }

my $active = active_units();

sub handle_modified {
    my ($unit, $info) = @_;
    if ($unit =~ /^(?:sysinit|basic|multi-user|graphical)\.target$/ || $unit =~ /\.(?:path|slice)$/) {
        # Not restarted: a daemon reload is enough.
    } elsif ($unit =~ /\.mount$/) {
        if ($unit eq '-.mount' || $unit eq 'nix.mount') { plan_reload($unit); }
        else { plan_restart($unit); }
    } elsif ($unit =~ /\.socket$/) {
        # Restarted with its service.
    } elsif (bool($info, 'Service', 'X-ReloadIfChanged', 0) && !$restart->{$unit} && !$stop{$unit}) {
        plan_reload($unit);
    } elsif (!bool($info, 'Service', 'X-RestartIfChanged', 1)
        || bool($info, 'Unit', 'RefuseManualStop', 0)
        || bool($info, 'Unit', 'X-OnlyManualStart', 0)) {
        $skip{$unit} = 1;
    } elsif (!bool($info, 'Service', 'X-StopIfChanged', 1) || $unit !~ /\.service$/) {
        plan_restart($unit);
        delete $reload->{$unit};
    } else {
        # If sockets start the service, they are stopped and started instead.
        my $by_socket = 0;
        my @sockets = split(' ', join(' ', @{ $info->{Service}{Sockets} // [] }));
        (my $stem = base_of($unit)) =~ s/@?\.service$//;
        @sockets = ("$stem.socket") unless @sockets;
        for my $socket (@sockets) {
            my $stays = -e "$new_dir/$socket";
            if ($active->{$socket}) {
                $stop{$socket} = 1;
                if ($stays) { plan_start($socket); $by_socket = 1; }
            } elsif ($stays) {
                $by_socket = 1;
            }
        }
        $by_socket = 0 if bool($info, 'Service', 'X-NotSocketActivated', 0);
        plan_start($unit) if !$by_socket;
        $stop{$unit} = 1;
        delete $reload->{$unit};
    }
}

for my $unit (sort keys %$active) {
    my $state = $active->{$unit};
    next unless $state->{state} eq 'active' || $state->{state} eq 'activating';
    my $base = base_of($unit);
    my $fragment = $state->{fragment};
    my $was_ours = in_tree($current_dir, $base) || ($base ne $unit && in_tree($current_dir, $unit));
    my $is_ours = in_tree($new_dir, $base) || ($base ne $unit && in_tree($new_dir, $unit));

    if ($unit =~ /\.target$/) {
        # Active targets are started again, which starts their new units. The machine's own targets count as
        # soon as this system has units for them.
        if ($is_ours || -d "$new_dir/$unit.wants" || -d "$new_dir/$unit.requires" || -d "$new_dir/$unit.upholds") {
            my $info = parse_unit($new_dir, $unit, "$root$fragment");
            if ($unit !~ /^(?:suspend|hibernate|hybrid-sleep)\.target$/
                && !bool($info, 'Unit', 'RefuseManualStart', 0)
                && !bool($info, 'Unit', 'X-OnlyManualStart', 0)) {
                plan_start($unit);
                $filter{$unit} = 1 unless ($ENV{STC_DISPLAY_ALL_UNITS} // '') eq '1';
            }
            $stop{$unit} = 1 if bool($info, 'Unit', 'X-StopOnReconfiguration', 0);
            next;
        }
    }
    next unless $was_ours || $is_ours;

    # The machine's own file of the unit, if it has one.
    my $machine_file;
    if ($fragment ne '' && $fragment !~ m{^/etc/systemd/system/}) { $machine_file = "$root$fragment"; }
    elsif (!-e "$current_dir/$base") { $machine_file = "$root/etc/systemd/system/$unit"; }

    if (!$is_ours && (-e "$current_dir/$base" || !defined $machine_file)) {
        my $info = parse_unit($current_dir, $unit);
        $stop{$unit} = 1 if bool($info, 'Unit', 'X-StopOnRemoval', 1);
        next;
    }
    my $old = parse_unit($current_dir, $unit, $machine_file);
    my $new = parse_unit($new_dir, $unit, $machine_file);
    my $change = compare_units($old, $new);
    if ($change eq 'restart') { handle_modified($unit, $new); }
    elsif ($change eq 'reload' && !$restart->{$unit}) { plan_reload($unit); }
}

# Checks whether systemd's own configuration changes.
sub text_of { my ($path) = @_; local $/; open(my $fh, '<', $path) or return ''; return <$fh> // ''; }
my $manager = 'etc/systemd/system.conf';
my $reexec = -e "$root/run/current-system/$manager" && text_of("$root/run/current-system/$manager") ne text_of("$toplevel/$manager");

sub show_units {
    my ($words, $set, $hidden) = @_;
    my @names = sort { lc $a cmp lc $b } grep { !$hidden || !$hidden->{$_} } keys %$set;
    print STDERR "$words the following units: " . join(', ', @names) . "\n" if @names;
}
sub show_changed {
    my ($words, $set) = @_;
    my @names = sort { lc $a cmp lc $b } keys %$set;
    print STDERR "$words the following changed units: " . join(', ', @names) . "\n" if @names;
}

if ($dry) {
    show_units('would stop', \%stop, \%filter);
    show_changed('would NOT stop', \%skip);
    print STDERR "would activate the configuration...\n";
    system("$toplevel/dry-activate", $toplevel) if $root eq '';
    print STDERR "would restart systemd\n" if $reexec;
    show_units('would reload', $reload);
    show_units('would restart', $restart);
    show_units('would start', $start, \%filter);
    exit 0;
}

# Execution of the plan.

sub systemctl { return system('systemctl', @_) == 0; }
my $exit = 0;

show_units('stopping', \%stop, \%filter);
systemctl('stop', '--', sort keys %stop) if %stop;
show_changed('NOT restarting', \%skip);

print STDERR "activating the configuration...\n";
if (system("$toplevel/activate", $toplevel) != 0) {
    print STDERR "Failed to run activate script\n";
    $exit = 2;
}

if ($reexec) {
    print STDERR "restarting systemd...\n";
    systemctl('daemon-reexec');
}
systemctl('reset-failed');
systemctl('daemon-reload') or $exit = 4;

print STDERR "restarting sysinit-reactivation.target\n";
systemctl('restart', 'sysinit-reactivation.target') or $exit = 4;

# A unit that was stopped together with one of its requirements is started rather than reloaded.
for my $unit (sort keys %$reload) {
    next if system('systemctl', 'is-active', '--quiet', $unit) == 0;
    delete $reload->{$unit};
    plan_start($unit) if -e "$new_dir/" . base_of($unit);
}

# systemd has the result of each job; the failure of one does not prevent the others.
sub work {
    my ($verb, $words, $set, $hidden) = @_;
    my @units = sort { lc $a cmp lc $b } keys %$set;
    if (@units) {
        show_units($words, $set, $hidden);
        systemctl($verb, '--', @units) or $exit = 4;
    }
    unlink $list_file{$verb};
}
work('reload', 'reloading', $reload);
work('restart', 'restarting', $restart);
work('start', 'starting', $start, \%filter);

# The result. A service that exits right after its start needs a moment to be visible as failed.
select(undef, undef, undef, 0.25) if %$restart || %$start;
my (@failed, @new);
my $after = active_units();
for my $unit (sort { lc $a cmp lc $b } keys %$after) {
    my $now = $after->{$unit};
    if ($now->{state} eq 'failed' || ($now->{substate} =~ /^auto-restart/ && $unit =~ /\.service$/ && $now->{status} != 0)) {
        push @failed, $unit;
    } elsif (!$active->{$unit} && $unit !~ /\.scope$/) {
        push @new, $unit;
    }
}
print STDERR 'the following new units were started: ' . join(', ', @new) . "\n" if @new;
if (@failed) {
    print STDERR 'warning: the following units failed: ' . join(', ', @failed) . "\n";
    open(my $stdout, '>&', \*STDOUT);
    open(STDOUT, '>&', \*STDERR);
    system('systemctl', 'status', '--no-pager', '--full', @failed);
    open(STDOUT, '>&', $stdout);
    $exit = 4;
}
exit $exit;
