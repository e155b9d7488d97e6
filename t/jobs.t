#!/usr/bin/perl
# What a stop cuts off beside the guest: jobs of QEMU (backups, mirrors) and migrations are told of.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $done_before = qr/is under way: it ends with QEMU unless it is done before\n/;
my $cut_off = qr/was not done when QEMU ended: it was cut off\n/;

sub status {
	my ($s, $id, $status) = @_;
	$s->fake(event => 'JOB_STATUS_CHANGE', data => { id => $id, status => $status }, set => { jobs => $status eq 'created' ? "$id:backup" : '' });
}

# The supervisor has heard all that was told before.
sub heard {
	my ($s) = @_;
	$s->fake(event => 'STOP');
	my $asked = $s->sent(qr/^query-status$/);
	wait_until('a question', sub { $s->sent(qr/^query-status$/) > $asked || $asked > 1 });
}

subtest 'a backup' => sub {
	my $s = running(fake => []);
	status($s, 'b0', 'created');
	$s->wait_sent('query-jobs');
	status($s, 'b0', 'running');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'cut off');
	like($s->log, qr/: job b0 \(backup\) $done_before.*SHUTDOWN.*: job b0 \(backup\) $cut_off[^\n]*ended: /s, 'told of twice');

	$s = running(fake => []);
	status($s, 'b0', $_) for qw(created running concluded null);
	heard($s);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'done before');
	unlike($s->log, qr/job b0/, 'done before: not a word');

	$s = running(fake => []);
	status($s, 'b0', 'created');
	$s->wait_sent('query-jobs');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'nobody stops it');
	like($s->log, $cut_off, 'cut off');
};

subtest 'one that a supervisor before us had seen' => sub {
	my $s = running(fake => ['jobs=m1:mirror,b2:backup'], name => 'taken');
	my $next = $s->taken_over;
	$next->wait_log(qr/QEMU runs/);
	$next->wait_sent('query-jobs');
	wait_until('ready', sub { $next->sent(qr/^query-chardev|info|human-monitor-command$/) });
	$next->signal('QUIT');
	$next->ends_with(80, qr/quit/, 'taken over');
	like($next->log, qr/job m1 \(mirror\) $cut_off.*job b2 \(backup\) $cut_off/s, 'both are told of');
};

subtest 'a migration' => sub {
	for my $last (qw(active completed)) {
		my $s = running(fake => []);
		$s->fake(event => 'MIGRATION', data => { status => $_ }) for 'setup', 'active', $last;
		$s->signal('TERM');
		$s->end;
		my @lines = $s->log =~ /: a migration (?:$done_before|$cut_off)/g;
		is(scalar @lines, $last eq 'active' ? 2 : 0, $last);
	}
};

done_testing;
