#!/usr/bin/perl
# vmconf.8 against the program: commands, options, states, JSON.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

my $page = slurp("$top/man/vmconf.8");
my %section = $page =~ /^\.Sh ([^\n]+)\n(.*?)(?=^\.Sh |\z)/gms;
my $help = vmconf_does('--help');
my @commands = $help =~ /^  vmconf (\S+)/mg;

# A paragraph of the page for each command, with its options; those of start, stop and restart stand together.
my %text;
my $command = '';
for my $line (split /\n/, $section{DESCRIPTION}) {
	$command = $1 if $line =~ /^\.It Cm (\S+)/ && grep { $_ eq $1 } @commands;
	$text{$command} .= "$line\n";
}
is(join(' ', sort grep { $_ } keys %text), join(' ', sort @commands), 'commands');
for my $name (@commands) {
	my $from = $name =~ /^(start|stop)$/ ? $text{$name} . $text{restart} : $text{$name};
	my %in_page = map { $_ => 1 } $from =~ /\bFl -([a-z][-a-z]*)/g;
	my %in_help = map { $_ => 1 } vmconf_does($name, '--help') =~ s/\n\nExamples:\n.*//sr =~ /--([a-z][-a-z]*)/g;
	%in_help = (%in_help, map { $_ => 1 } qw(all tag from-order parallel within kill force)) if $name eq 'restart';
	$in_help{delay} = 1 if $name =~ /^(stop|restart)$/;	# nor this for them
	$in_help{kill} = 1 if $name eq 'start';	# the page says that it is not for start
	is(join(' ', sort keys %in_page), join(' ', sort keys %in_help), "options of $name");
}

# What users of virsh, qm, incus and systemctl type.
my %ours = (undefine => 'delete', poweroff => 'stop', reset => 'qmp NAME system_reset', pause => 'qmp NAME stop', suspend => 'qmp NAME stop', resume => 'qmp NAME cont',
	resize => 'grow', autostart => 'enable', dumpxml => 'show', define => 'create', config => 'set', domifaddr => 'ip', shell => 'ssh');
vmconf_fails(64, qr/^vmconf: there is no command $_; it is "vmconf \Q$ours{$_}\E" here$/, $_) for sort keys %ours;

# States: those of vmstate.c.
my @states = sort(slurp("$top/commands/vmstate.c") =~ /\[VM_[A-Z_]+\] = "([-a-z]+)"/g);
is_deeply([sort $section{STATES} =~ /^\.It ([-a-z]+)$/mg], \@states, 'states');

# Keys of the JSON.
vmconf_does('create', 'web1', '--nic', 'none');
my $list = JSON::PP::decode_json(vmconf_does('list', '--json'));
my @documented = sort map { split / , / } $section{JSON} =~ /^\.It ([-a-z, ]+)$/mg;
is_deeply([sort keys %{ $list->{vms}[0] }], \@documented, 'keys of list --json');
my $long = JSON::PP::decode_json(vmconf_does('list', '--json', '--long'));
is_deeply([sort keys %{ $long->{vms}[0] }], [sort @documented, qw(disks nics)], 'keys of list --json --long');
my $status = JSON::PP::decode_json(vmconf_does('status', 'web1', '--json'));
is_deeply([sort keys %$status], [sort((grep { $_ ne 'broken' } @documented), qw(version addresses disks nics forwards helpers outdated))], 'keys of status --json');

done_testing;
