#!/usr/bin/perl
# run:PROGRAM: what it gets, when it is refused, and how it ends.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use lib $FindBin::Bin;
use T;

my $count = 0;

# A program; its standard output goes into a file.
sub program {
	my ($script, $mode) = @_;
	my $path = spew("$work/program." . ++$count, "#!/bin/sh\n$script");
	chmod($mode // 0755, $path);
	return $path;
}

sub stop {
	my ($s, $what) = @_;
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, $what);
}

subtest 'what it gets' => sub {
	my $hook = program("{ env; echo; pwd; cat; } > $work/seen.new; ls -l /proc/\$\$/fd > $work/fds; mv $work/seen.new $work/seen\n");
	my $s = running(
		name => 'web', fake => [], options => ['-o', "BLOCK_IO_ERROR=run:$hook", '-o', "HUP=run:$hook"],
		env => { VM_NAME => 'wrong', T_HERE => 'kept', NOTIFY_SOCKET => "$work/none" }
	);
	my %data = (device => 'disk0', nospace => JSON::PP::true);
	$s->fake(event => 'BLOCK_IO_ERROR', data => \%data);
	my $seen = wait_until('the program', sub { slurp("$work/seen") });
	my ($environment, $dir, $event) = $seen =~ /\A(.*)\n\n(.*?)\n(.*)\z/s;
	my %env = map { /^(\w+)=(.*)$/ ? ($1 => $2) : () } split(/\n/, $environment);
	is($env{VM_NAME}, 'web', 'VM_NAME');
	is($env{VM_TRIGGER}, 'BLOCK_IO_ERROR', 'VM_TRIGGER');
	is($env{VM_PID}, $s->qemu, 'VM_PID');
	is($env{QMP_SOCKET}, $s->dir . '/qmp', 'QMP_SOCKET');
	is($env{T_HERE}, 'kept', 'and our own environment');
	is($env{NOTIFY_SOCKET}, undef, 'less what is between the init system and us');
	my $json = JSON::PP::decode_json($event);
	is($json->{event}, 'BLOCK_IO_ERROR', 'the event on its standard input');
	is_deeply($json->{data}, \%data, 'with its data');
	is(scalar(() = slurp("$work/fds") =~ m{ \d+ -> .*(socket|lock|eventpoll|signalfd)}g), 0, 'no descriptor of ours')
		or diag(slurp("$work/fds"));
	unlink("$work/seen");
	$s->wait_log(qr/ended with status 0/);
	$s->signal('HUP');
	$seen = wait_until('the program', sub { slurp("$work/seen") });
	like($seen, qr/^VM_TRIGGER=HUP$/m, 'a signal');
	is((split(/\n/, $seen))[-1], '{"trigger":"HUP"}', 'is an event, too');
	stop($s, 'what it gets');
};

subtest 'an environment of its signals' => sub {
	my $hook = program("grep -E 'Sig(Blk|Ign)' /proc/self/status > $work/signals.new; mv $work/signals.new $work/signals\n");
	my $s = running(fake => [], options => ['-o', "HUP=run:$hook"]);
	$s->signal('HUP');
	my $signals = wait_until('the program', sub { slurp("$work/signals") });
	like($signals, qr/SigBlk:\s+0+$/m, 'nothing is blocked');
	stop($s, 'signals');
};

subtest 'rungs behind it' => sub {
	my $good = program('exit 0');
	my $bad = program('exit 3');
	my $s = running(fake => [], options => ['-o', "HUP=run:$good 60s, nmi", '-o', "USR1=run:$bad 60s, stop"]);
	$s->signal('HUP');
	ok($s->wait_sent('inject-nmi'), 'status 0: the next rung');
	$s->signal('USR1');
	ok($s->wait_sent('stop'), 'another status: the next rung at once');
	$s->wait_log(qr{run:\Q$bad\E: ended with status 3});
	stop($s, 'rungs');

	$s = running(fake => [], options => ['-o', "TERM=run:$bad 60s, quit 10s, kill"]);
	$s->signal('TERM');
	$s->ends_with(80, qr/; TERM: run \S+, quit \S+$/, 'in a ladder that ends the VM');
	$s = running(fake => ['ignore=quit'], options => ['-o', "TERM=run:$good 100ms, quit 50ms, kill"]);
	$s->signal('TERM');
	$s->ends_with(81, qr/; TERM: run \S+, quit \S+, kill \S+$/, 'where status 0 waits for the end of the VM');
};

subtest 'several at once' => sub {
	my ($one, $two) = map { T::make_fifo("$work/end-$_"); program("echo > $work/is-$_; read -r go < $work/end-$_; kill -USR1 \$\$\n") } 1, 2;
	my $s = running(fake => [], options => ['-o', "HUP=run:$one 600s, nmi", '-o', "USR1=run:$two 600s, stop"]);
	$s->signal('HUP');
	wait_until('the first', sub { -e "$work/is-1" });
	$s->signal('USR1');
	wait_until('the second', sub { -e "$work/is-2" });
	spew("$work/end-1", "go\n");
	$s->wait_sent('inject-nmi');
	like($s->log, qr{run:\Q$one\E: ended by signal 10$}m, 'a signal is told');
	unlike($s->log, qr{run:\Q$two\E: (?:ended|killed)}, 'and the other program goes on');
	spew("$work/end-2", "go\n");
	$s->wait_sent('stop');
	like($s->log, qr{run:\Q$two\E: ended by signal 10$}m, 'to its own next rung');
	stop($s, 'several');
};

subtest 'its time is over' => sub {
	my $slow = program("echo \$\$ > $work/pid; sleep 1000 & echo \$! > $work/child; wait\n");
	my $s = running(fake => [], options => ['-o', "HUP=run:$slow 300ms, nmi"]);
	$s->signal('HUP');
	$s->wait_sent('inject-nmi');
	my ($pid, $child) = map { slurp($_) + 0 } "$work/pid", "$work/child";
	wait_until('its end', sub { !grep { /^($pid|$child)$/ } children($$) });
	pass('killed with its children');
	like($s->log, qr{run:\Q$slow\E: [^\n]*killed|its time \(300ms\) is over: killed}, 'said');
	stop($s, 'time');
};

subtest 'dropped by a stop' => sub {
	my $slow = program("echo \$\$ > $work/slow; exec sleep 1000\n");
	my $s = running(fake => [], options => ['-o', "HUP=run:$slow 60s"]);
	$s->signal('HUP');
	my $pid = wait_until('the program', sub { slurp("$work/slow") =~ /(\d+)\n/ && $1 });
	stop($s, 'dropped');
	wait_until('its end', sub { !grep { $_ == $pid } children($$) });
	like($s->log, qr{run:\Q$slow\E: killed, its rung is over}, 'said');
};

subtest 'its supervisor dies' => sub {
	my $slow = program("echo \$\$ >> $work/orphan; sleep 1000 & echo \$! >> $work/orphan; wait\n");
	my $last = program("echo begun > $work/begun; read -r go < $work/gate; echo done > $work/late\n");
	T::make_fifo("$work/gate");
	my $s = running(fake => [], options => ['-o', "HUP=run:$slow 2s", '-o', "USR1=run:$last 600s"]);
	$s->signal('HUP');
	$s->signal('USR1');
	my @pids = @{ wait_until('the program', sub { my @p = split ' ', slurp("$work/orphan"); @p == 2 && \@p }) };
	wait_until('the other one', sub { -s "$work/begun" });
	$s->lost;
	wait_until('the end of its time', sub { !grep { slurp("/proc/$_/stat") =~ /\) [^Z] / } @pids });
	pass('its programs have their time, and no more');
	spew("$work/gate", "go\n");
	is(wait_until('the other one\'s end', sub { slurp("$work/late") }), "done\n", 'what has time left goes on');
	my $next = $s->successor;
	$next->wait_log(qr/taking over QEMU/);
	stop($next, 'and the next one stops the VM');
};

subtest 'the last word of a program' => sub {
	my $hook = program("sleep 0.3; echo done > $work/last\n");
	my $s = running(fake => [], options => ['-o', "SHUTDOWN=run:$hook 60s"]);
	$s->fake(shutdown => 'guest-shutdown');
	$s->ends_with(0, qr/powered itself off/, 'a hook on SHUTDOWN');
	is(slurp("$work/last"), "done\n", 'may finish');
};

subtest 'refused' => sub {
	my %refused = (
		"$work/missing" => qr/No such file/, $work => qr/not a file/,
		program('', 0775) => qr/others than its owner may write it \(chmod go-w\)/,
		program('', 0757) => qr/others than its owner may write it/, program('', 0644) => qr/Permission denied/
	);
	my $others = program('');
	$refused{$others} = qr/belongs neither to root nor to us/ if $> == 0 && chown(65534, 65534, $others);
	for my $path (sort keys %refused) {
		my $s = running(fake => [], options => ['-o', "HUP=run:$path 60s, nmi"]);
		$s->signal('HUP');
		$s->wait_sent('inject-nmi');
		like($s->log, qr/run:\Q$path\E: not run: [^\n]*$refused{$path}/, "$refused{$path}");
		stop($s, 'refused');
	}
};

# A program of ours that others could exchange, or of which they decide which one it is.
subtest 'on its way' => sub {
	mkdir($_) for "$work/way", "$work/way/open", "$work/way/open/sub", "$work/way/mine", "$work/way/sticky";
	my ($program) = map { rename($_, "$work/way/open/sub/x"); "$work/way/open/sub/x" } program('');
	chmod(0777, "$work/way/open");
	chmod(01777, "$work/way/sticky");
	symlink("$work/way/open/sub", "$work/way/mine/through");
	rename(program(''), "$work/way/sticky/x");
	symlink('../sticky/x', "$work/way/mine/x");
	symlink('loop', "$work/way/mine/loop");
	my $open = qr{others than its owner may write to \Q$work\E/way/open \(chmod go-w\)};
	my %refused = (
		$program => $open, "$work/way/mine/through/x" => $open, "$work/way/mine/../open/sub/x" => $open,
		"$work/way/mine/loop" => qr/Too many levels/, "$work/way/mine" => qr/not a file/
	);
	if ($> == 0) {
		symlink('/usr/bin/true', "$work/way/mine/theirs");
		system('chown', '-h', '65534', "$work/way/mine/theirs");
		$refused{"$work/way/mine/theirs"} = qr{\Q$work\E/way/mine/theirs belongs neither to root nor to us};
	}
	my $s = running(fake => [], options => [map { ('-o', $_) } "HUP=run:$work/way/mine/x 60s, nmi", 'RESUME=run:/usr/bin/env 60s, wakeup']);
	$s->signal('HUP');
	$s->wait_sent('inject-nmi');
	like($s->log, qr{run:\Q$work\E/way/mine/x: ended with status 0}, 'links of ours, and a sticky directory');
	$s->fake(event => 'RESUME');
	$s->wait_sent('system_wakeup');
	like($s->log, qr{run:/usr/bin/env: ended with status 0}, 'what is no script');
	stop($s, 'ours');
	for my $path (sort keys %refused) {
		$s = running(fake => [], options => ['-o', "HUP=run:$path 60s, nmi"]);
		$s->signal('HUP');
		$s->wait_sent('inject-nmi');
		like($s->log, qr/run:\Q$path\E: not run: $refused{$path}/, "$refused{$path}");
		stop($s, 'refused');
	}
};

done_testing;
