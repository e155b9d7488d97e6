#!/usr/bin/perl
# No memory is lost or used wrongly from a start to a stop, nor by vmconf: as valgrind sees it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('valgrind', 'qemu-img');
my $supervise = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
plan skip_all => 'sanitizers look for the same, and do not go together with valgrind' if slurp($supervise) =~ /__asan_init/;

my @valgrind = ('valgrind', '--error-exitcode=99', '--leak-check=full', '--show-leak-kinds=definite',
	'--errors-for-leak-kinds=definite', '--child-silent-after-fork=yes', "--log-file=$work/valgrind.%p");

# The reports of all processes since the last call.
sub nothing_found {
	my ($what) = @_;
	my @reports = glob "$work/valgrind.*";
	cmp_ok(scalar @reports, '>', 0, "$what: there is a report");
	for (@reports) {
		like(slurp($_), qr/ERROR SUMMARY: 0 errors/, "$what: no errors") or diag(slurp($_));
		unlink;
	}
}

sub start_and_stop {
	my ($what, %o) = @_;
	my $s = running(%o, prefix => \@valgrind);
	$s->signal('USR1');
	$s->wait_log(qr/: status: /);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, $what);
	nothing_found($what);
}

start_and_stop('a command', fake => []);
start_and_stop('a command, garbage', fake => ['garbage', 'byte-by-byte']);
start_and_stop('a lost connection', fake => ['close=system_powerdown'], options => ['--press-interval', '100ms']);
start_and_stop('a definition', fake => [], agent => 'obeys', options => ['-r', 'agent']);
start_and_stop('agent-shutdown', fake => [], agent => 'obeys', options => ['-o', 'TERM=agent-shutdown 10s, kill']);
start_and_stop('a long policy', fake => [], options => [map { ('-o', $_) } 'HUP=qmp:{"execute": "cont"}', 'STOP=run:/bin/true, cont',
	'TERM=run:/bin/true 10s, powerdown, kill']);

for my $failing ([command => ['/nosuch/qemu']], [fake => ['exit-before-qmp=1']]) {
	my $s = supervise(@$failing, prefix => \@valgrind);
	like($s->end, qr/^(?:69|127)$/, 'a start that fails');
	nothing_found('a start that fails');
}

sub vmconf_is_clean {
	my ($expected, @words) = @_;
	my ($status, $out, $err) = run_command(@valgrind, "$top/vmconf", @words);
	is($status, $expected, "vmconf @words: status $expected") or diag($err);
	nothing_found("vmconf $words[0]");
}

vmconf_is_clean(0, 'create', 'web', quick('--disk', '1M'));
vmconf_is_clean(1, 'create', 'web', quick('--disk', '1M'));
vmconf_is_clean(0, 'clone', 'web', 'web2');
vmconf_is_clean(0, 'set', 'web', 'memory=128M');
vmconf_is_clean(0, 'list');
vmconf_is_clean(0, 'list', '--json');
vmconf_is_clean(0, 'show', 'web');
vmconf_is_clean(0, 'status', 'web');
vmconf_is_clean(0, 'check');
vmconf_is_clean(0, 'rename', 'web2', 'web3');
vmconf_is_clean(0, 'delete', 'web', 'web3');
vmconf_is_clean(1, 'delete', 'web');
vmconf_is_clean(64, 'nosuch');

done_testing;
