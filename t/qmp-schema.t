#!/usr/bin/perl
# The tables of what QEMU tells, against the schema of the QEMU that is installed: events, run states, SHUTDOWN's reasons.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64');

my $s = running(command => ['qemu-system-x86_64', '-machine', 'none', '-accel', 'tcg', '-nodefaults', '-display', 'none', '-S']);
my $schema = $s->qmp->command('query-qmp-schema');
my %type = map { $_->{name} => $_ } @$schema;
$s->signal('QUIT');
$s->ends_with(0, qr/no guest was running/, 'asked');

# Names of a type's values; an older QEMU has them under another key.
sub values_of {
	my ($enum) = @_;
	return $enum->{members} ? map { $_->{name} } @{ $enum->{members} } : @{ $enum->{values} };
}

sub member_type {
	my ($object, $member) = @_;
	my ($found) = grep { $_->{name} eq $member } @{ $type{$object}{members} };
	return $type{ $found->{type} };
}

# The strings of a table in a file of ours, by its name.
sub table_of {
	my ($file, $table) = @_;
	my ($text) = slurp("$top/$file") =~ /\b\Q$table\E\[\] = \{\n(.*?)\n\};/s or die "no $table in $file\n";
	return map { $_ => 1 } $text =~ /^\s*\{?"([A-Za-z_-]+)"/mg;
}

sub all_known {
	my ($what, $known, @names) = @_;
	my @new = grep { !$known->{$_} } @names;
	cmp_ok(scalar @names, '>', 5, "QEMU tells its $what");
	is("@new", '', "each of QEMU's $what is known");
}

all_known('events', { table_of('vm/trigger.c', 'events') }, map { $_->{name} } grep { $_->{'meta-type'} eq 'event' } @$schema);
all_known('run states', { table_of('vm/runstate.c', 'runstates') },
	values_of(member_type($type{'query-status'}{'ret-type'}, 'status')));
# Resets alone have the others.
all_known('reasons of SHUTDOWN', { table_of('vm/outcome.c', 'causes') },
	grep { !/^(?:none|subsystem-reset|snapshot-load)$/ }
		values_of(member_type($type{SHUTDOWN}{'arg-type'}, 'reason')));

done_testing;
