# The one table that make bench prints: each figure beside its peer, both measured in turns.
package Table;

use strict;
use warnings;
use Exporter qw(import);
use T qw(slurp);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our @EXPORT = qw(now median progress row print_table $rounds);
our $rounds = $ENV{BENCH_ROUNDS} || 15;
my @rows;

sub now { return clock_gettime(CLOCK_MONOTONIC) * 1000 }	# ms

sub median {
	my @sorted = sort { $a <=> $b } @_;
	return ($sorted[$#sorted / 2] + $sorted[(1 + $#sorted) / 2]) / 2;
}

# One line on a terminal, replaced by the next one.
sub progress { printf STDERR "\r\e[K%s", @_ ? sprintf(shift, @_) : '' if -t STDERR }

# aim: in words; met: whether it is. peer: undef where there is none.
sub row {
	my ($what, $ours, $peer, $peer_is, $aim, $met) = @_;
	push @rows, [$what, $ours, $peer, $peer_is, $aim, $met];
}

sub number {
	my ($what, $value) = @_;
	return '-' unless defined $value;
	return sprintf($what =~ /ms$/ ? '%.2f' : '%d', $value);
}

sub print_table {
	my ($with) = @_;
	my ($load) = split ' ', slurp('/proc/loadavg');
	progress();
	printf "Medians of %d rounds (starts: %d), both sides in turns. %s, %d CPUs, load %s.\n\n", $rounds, 4 * $rounds, $with,
		`nproc`, $load;
	printf "%-32s %10s %10s %7s  %-20s %s\n", 'what', 'ours', 'peer', 'ratio', 'the peer is', 'aim';
	for (@rows) {
		my ($what, $ours, $peer, $peer_is, $aim, $met) = @$_;
		my $ratio = $peer ? sprintf('%.2f', $ours / $peer) : '-';
		printf "%-32s %10s %10s %7s  %-20s %s%s\n", $what, number($what, $ours), number($what, $peer), $ratio, $peer_is, $aim,
			$met ? '' : ': MISSED';
	}
}

1;
