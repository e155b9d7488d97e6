#!/usr/bin/perl
# vmconf qmp: what QEMU returns as it wrote it, and an end.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
use T;

my $s = running(fake => [], agent => 'fake', name => 'web');

# vmconf needs the public socket, too.
sub fake {
	my (%what) = @_;
	$s->fake(%what);
	delete $s->{public};
}

subtest 'numbers' => sub {
	fake(set => { returns => { 'qom-get' => '18446744073709551615', 'query-x' => '{"a": [0.1, -9223372036854775809, 1e400], "b": {}}' } });
	is(vmconf_does('qmp', 'web', 'qom-get'), "18446744073709551615\n", 'over 2^63-1');
	is(vmconf_does('qmp', 'web', 'query-x'), <<'JSON', 'as QEMU wrote them');
{
  "a": [
    0.1,
    -9223372036854775809,
    1e400
  ],
  "b": {}
}
JSON
	fake(set => { returns => { 'query-x' => '"a\u0000b"' } });
	is(vmconf_does('qmp', 'web', 'query-x'), "\"a\\u0000b\"\n", 'a string with a NUL');
	fake(set => { returns => { 'query-x' => '[' x 5000 . ']' x 5000 } });
	is(vmconf_does('qmp', 'web', 'query-x') =~ tr/[//, 5000, 'more levels than jansson takes');
};

subtest 'arguments' => sub {
	vmconf_does('qmp', 'web', 'fake', '{"state": "paused", "x": 18446744073709551615}');
	like(vmconf_does('qmp', 'web', 'query-status'), qr/"status": "paused"/, 'arrive, with any number');
	vmconf_fails(64, qr/are a JSON object, not \[\]$/, 'qmp', 'web', 'fake', '[]');
	vmconf_fails(64, qr/are a JSON object, not \{$/, 'qmp', 'web', 'fake', '{');
};

subtest 'an end' => sub {
	fake(set => { mute => 'query-x' });
	vmconf_fails(1, qr/^vmconf: web: query-x: no answer in time; QEMU may still be at it \(--within TIME waits longer\)$/m,
		'qmp', 'web', 'query-x', '--within', '50ms');
	vmconf_fails(1, qr/no answer in time/, 'qmp', 'web', 'query-x', '{}', '--within', '0');
	vmconf_fails(64, qr/--within soon: not a time/, 'qmp', 'web', 'query-x', '--within', 'soon');
	like(vmconf_does('qmp', 'web', 'query-status', '--within', 'forever'), qr/status/, 'or none');
};

subtest 'the run state' => sub {
	fake(set => { mute => '', refuse => 'query-status' });
	my ($status, $out, $err) = vmconf('status', 'web');
	is("$status $err", "0 vmconf: web: QEMU was not asked: QEMU does not tell\n", 'QEMU refuses');
	fake(set => { refuse => '', mute => 'query-status' });
	($status, $out, $err) = vmconf('status', 'web');
	is("$status $err", "0 vmconf: web: QEMU was not asked: no answer in time\n", 'or says nothing');
};

# QEMU that hangs up where it is given that command ('': at once), and what vmconf says then.
sub hangs_up_at {
	my ($at, $command) = @_;
	fake(set => { mute => '' });
	rename($s->dir . '/qmp', "$work/qmp") or die $!;
	my $qemu = IO::Socket::UNIX->new(Local => $s->dir . '/qmp', Listen => 1) or die $!;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		my $client = $qemu->accept;
		syswrite($client, qq({"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}\n));
		while ($at && defined(my $line = readline $client)) {
			my $asked = JSON::PP::decode_json($line);
			last if $asked->{execute} eq $at;
			syswrite($client, qq({"return": [], "id": $asked->{id}}\n));
		}
		close($client);
		POSIX::_exit(0);
	}
	my @said = vmconf('qmp', 'web', $command);
	waitpid($pid, 0);
	rename("$work/qmp", $s->dir . '/qmp') or die $!;
	return @said;
}

subtest 'QEMU hangs up' => sub {
	my ($status, $out, $err) = hangs_up_at('', 'query-status');	# before it has read what vmconf writes
	is("$status$out", '1', 'at once');
	like($err, qr/^vmconf: web: \S.*\n\z/, 'which is told');
	($status, $out, $err) = hangs_up_at('query-status', 'query-status');
	is("$status$out", '1', 'instead of an answer');
	like($err, qr/^vmconf: web: query-status: \S.*\n\z/, 'which is told');
	is_deeply([hangs_up_at('quit', 'quit')], [0, '', ''], 'but quit may end it before it answers');
};

subtest 'quit' => sub {
	vmconf_does('qmp', 'web', 'quit');
	is($s->end, 80, 'it has ended');
};

done_testing;
