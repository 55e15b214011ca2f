#!/usr/bin/perl
# switch-inhibitors CURRENT NEW: prints the keys that both JSON objects of strings have with different values, as NixOS'
# check does with jq. A missing file is an empty object; exit status 5 for a file that is something else.
use strict;
use warnings;

sub inhibitors {
    my ($path) = @_;
    return {} if !-f $path;
    open(my $fh, '<', $path) or die "$path: $!\n";
    local $/;
    my $text = <$fh> // '';
    my $string = qr/"((?:[^"\\]|\\.)*)"/;
    my %found;
    $text =~ /\A\s*\{/gc or damaged($path);
    until ($text =~ /\G\s*\}\s*\z/gc) {
        $text =~ /\G\s*$string\s*:\s*$string\s*,?/gc or damaged($path);
        $found{$1} = $2;
    }
    return \%found;
}
sub damaged {
    my ($path) = @_;
    print STDERR "jq: error: $path is no JSON object of strings\n";
    exit 5;
}

my ($old, $new) = map { inhibitors($_) } @ARGV;
for my $key (sort keys %$old) {
    next if !exists $new->{$key} || $old->{$key} eq $new->{$key};
    print "$key : $old->{$key} -> $new->{$key}\n";
}
