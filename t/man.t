#!/usr/bin/perl
# The tables of the manual page against the program and its sources.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $supervise = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
my $page = slurp("$top/man/qemu-supervise.8");
my %section = $page =~ /^\.S[hs] ([^\n]+)\n(.*?)(?=^\.S[hs] |\z)/gms;

sub printed {
	my (@options) = @_;
	my ($status, $out, $err) = run_command($supervise, '--print', @options, '--', 'qemu');
	is($status, 0, "--print @options") or diag($err);
	return $out =~ s/\n\n.*//sr;
}

# Default ladders: the same rows in the same order.
my @rows = $section{'Default ladders'} =~ /^\.It ([A-Z0-9]+) Ta (.*)$/mg;
my $table = '';
$table .= sprintf("%-5s %s\n", splice(@rows, 0, 2)) while @rows;
is($table, printed() . "\n", 'default ladders');

# Actions: those that the program lists, and each one's default time means what it says.
my ($status, undef, $err) = run_command($supervise, '-o', 'USR1=no-such-action', '--', 'qemu');
is($status, 64, 'an unknown action is refused');
my ($known) = $err =~ /\(actions: (.*)\)/ or diag($err);
my (@actions, %times);
while ($section{Actions} =~ /^\.It Cm (\S+)( : Ns Ar \S+)? Pq (\S+)$/mg) {
	push @actions, $2 ? "$1:" : $1;
	$times{ $actions[-1] } = $3;
}
is(join(', ', @actions), $known =~ s/:[A-Z]+/:/gr, 'actions');
for my $action (@actions) {
	my $whole = { 'qmp:' => 'qmp:stop', 'run:' => 'run:/bin/true' }->{$action} || $action;
	my $end = $action eq 'kill' ? '' : ', kill';
	is(printed('-o', "USR1=$whole$end"), printed('-o', "USR1=$whole $times{$action}$end"), "$action takes $times{$action}");
}

# Options.
my (undef, $help) = run_command($supervise, '--help');
my @in_help = sort $help =~ /(?<=[ \n])(--[a-z][-a-z]+|-[a-zA-Z])(?=[, \n[])/g;
my @in_page;
while ($section{DESCRIPTION} =~ /^\.It Fl (\S+)(?: , -(\S+))?/mg) {
	push @in_page, "-$1", $2 ? "--$2" : ();
}
is_deeply([sort @in_page], \@in_help, 'options');
my ($times) = $help =~ /^TIME is (.*)\.$/m;
my ($page_times) = $section{DESCRIPTION} =~ /^\.Ar time\nis\n(.*?)\.\n/ms;
is($page_times =~ s/^\.Ql //mgr =~ s/ ,\n/, /gr =~ s/\n(?=or)/ /r =~ s/\n/ /gr =~ s/ $//r, $times, 'forms of TIME');

# Run states, as runstate.c knows them.
my @in_source = sort(slurp("$top/vm/runstate.c") =~ /^\t\{"([-a-z]+)", RUNSTATE_[A-Z]+,/mg);
my @states = map { split /, / } $section{'THE POWER BUTTON'} =~ /^\.It ([-a-z, ]+) Ta /mg;
is_deeply([sort @states], \@in_source, 'run states');

# Exit statuses: those of outcome.h and the EX_ ones that some source uses.
my %sysexits = slurp('/usr/include/sysexits.h') =~ /^#define (EX_[A-Z]+)\s+(\d+)/mg;
my $sources = join '', map { slurp($_) } glob "$top/*.c $top/*/*.c";
my %statuses = map { $_ => 1 } 0, slurp("$top/vm/outcome.h") =~ /^\tEXIT_[A-Z_]+ = (\d+),$/mg;
$statuses{ $sysexits{$_} } = 1 for $sources =~ /\b(EX_[A-Z]+)\b/g;
my @documented = $section{'EXIT STATUS'} =~ /^\.It (\d+)$/mg;
is_deeply(\@documented, [sort { $a <=> $b } keys %statuses], 'exit statuses');

# Rows of tables, on a terminal of 80 columns: none is broken.
SKIP: {
	skip 'mandoc is not installed', 1 if !grep { -x "$_/mandoc" } split /:/, $ENV{PATH};
	for my $path (glob "$top/man/*") {
		my @broken;
		my $shown = (run_command('mandoc', '-T', 'ascii', '-O', 'width=80', $path))[1] =~ s/.\x08//gr;
		for my $row (slurp($path) =~ /^\.It (.* Ta .*)$/mg) {
			my @words = split ' ', $row =~ s/\b(Sy|Ic|No|Ta) //gr =~ s/ ,/,/gr;
			my $line = join '\s+', map { quotemeta } @words;
			push @broken, $row if !grep { /$line/ } split /\n/, $shown;
		}
		is_deeply(\@broken, [], $path =~ s/.*\///r . ': no row of a table is broken at 80 columns');
	}
}

done_testing;
