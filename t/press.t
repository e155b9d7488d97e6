#!/usr/bin/perl
# Pressing the power button when somebody hears it, and again; what the registers can say, and cannot.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my @often = ('--press-interval', '50ms');

sub stopping {
	my ($fake, @options) = @_;
	my $s = running(fake => $fake, options => \@options);
	$s->signal('TERM');
	return $s;
}

sub presses { return scalar $_[0]->sent(qr/^system_powerdown$/) }

# Looks at the registers, as HMP lines.
sub reads {
	my ($s) = @_;
	return grep { m{^i /h} } map { $_->{arguments}{'command-line'} // '' } $s->sent;
}

sub wait_reads {
	my ($s, $more) = @_;
	my $until = $more + reads($s);
	wait_until('looks', sub { reads($s) >= $until });
}

# For the end: one that has long been up when it is stopped.
my $up = running(fake => ['presses=2', 'sts-stuck'], options => ['--press-interval', '1h', '--boot-timeout', '1s']);
my $unreadable = running(fake => ['presses=9', 'no-acpi'], options => ['--press-interval', '1h']);
my $woken = running(fake => ['presses=3'], options => ['--press-interval', '1h', '--boot-timeout', '1s']);
my $up_since = time;

subtest 'a guest that listens late' => sub {
	my $s = stopping(['en=0x0020']);
	$s->wait_log(qr/powerdown: the guest does not listen to its power button yet; waiting for it, (119|120)s at most\n/);
	wait_reads($s, 3);
	is(presses($s), 0, 'not pressed yet');
	$s->signal('USR1');
	$s->wait_log(qr/power button: does not listen/);
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(0, qr/powered itself off/, 'late');
	is(presses($s), 1, 'pressed once');
	is(scalar(() = $s->log =~ /yet; waiting/g), 1, 'waiting is told once');
};

subtest 'registers that firmware has not placed yet' => sub {
	my $s = stopping(['base=0x0']);
	$s->wait_log(qr/waiting for it/);
	wait_until('looks', sub { $s->sent(qr/^qom-get$/) >= 4 });
	is_deeply([reads($s)], [], 'ports 0 and 2 are never read');
	$s->fake(set => { base => '0xb000' });
	$s->ends_with(0, qr/powered itself off/, 'placed');
	is((reads($s))[0], 'i /h 0xb002', 'read where they are');
};

subtest 'deaf' => sub {
	my $s = stopping(['en=0x0020'], '--boot-timeout', '200ms');
	$s->ends_with(80, qr/not shut down: quit \(status 80\); TERM: powerdown \S+, agent-shutdown \S+, quit/, 'deaf');
	like($s->log, qr/powerdown: deaf: the guest does not listen to its power button\n/, 'said');
	is(presses($s), 0, 'never pressed');

	$s = stopping(['en=0x0020'], '--boot-timeout', '0');
	$s->ends_with(80, qr/not shut down: quit/, 'no time to boot');
};

# Names of commands that were sent from the first of these on.
sub sent_from {
	my ($s, $first) = @_;
	my @sent = map { $_->{execute} } $s->sent;
	shift @sent while @sent && $sent[0] ne $first;
	return @sent;
}

subtest 'a guest that was seen listening' => sub {
	my $s = running(fake => [], options => ['--ready', 'listening']);
	$s->wait_log(qr/the guest listens/);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'seen');
	is((sent_from($s, 'set-action'))[1], 'system_powerdown', 'is pressed without another look');

	$s = running(fake => [], options => ['--ready', 'listening', '-o', 'TERM=powerdown 100ms, quit 10s, kill']);
	$s->wait_log(qr/the guest listens/);
	$s->fake(set => { en => '0x0020' });
	$s->signal('TERM');
	$s->wait_log(qr/pressed\n.*does not listen to its power button any more: the press was not heard; waiting for it/);
	wait_reads($s, 2);
	is(presses($s), 1, 'pressed once');
	unlike($s->log, qr/is over/, 'a press that nobody heard costs no TIME');
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(0, qr/powered itself off/, 'deaf for a while');
	is(presses($s), 2, 'and again when it listens');

	$s = running(fake => [], options => ['--ready', 'listening']);
	$s->wait_log(qr/the guest listens/);
	$s->fake(set => { en => '0x0020' }, reset => 1);
	wait_until('RESET', sub { $s->sent(qr/^query-status$/) >= 3 });
	$s->signal('TERM');
	$s->wait_log(qr/does not listen to its power button yet/);
	is(presses($s), 0, 'after a reset it is looked at first');
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(0, qr/powered itself off/, 'after a reset');
};

subtest 'TIME runs from the press' => sub {
	my $s = stopping(['en=0x0020', 'ignore=system_powerdown'], '-o', 'TERM=powerdown 100ms, quit 10s, kill');
	wait_reads($s, 4);
	unlike($s->log, qr/is over/, 'not while the guest does not listen');
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(80, qr/not shut down: quit/, 'from the press');
	like($s->log, qr/pressed\n.*powerdown 100ms is over/s, 'and then it is over');
};

subtest 'all ones' => sub {
	my $s = stopping(['en=0xffff', 'ignore=system_powerdown']);
	$s->wait_log(qr/power button pressed; whether the guest listens cannot be known/);
	cmp_ok(scalar reads($s), '>=', 4, 'for longer than a moment');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'all ones');

	$s = stopping(['en=0xffff']);
	wait_reads($s, 1);
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(0, qr/powered itself off/, 'for a moment');
	like($s->log, qr/power button pressed\n/, 'then it listens');
};

subtest 'registers that cannot be read' => sub {
	for my $why ('no-hmp', 'no-acpi') {
		my $s = stopping([$why, 'presses=3'], @often);
		$s->ends_with(0, qr/powered itself off/, $why);
		is(presses($s), 3, "$why: pressed again all the same");
		like($s->log, qr/pressed; whether the guest listens cannot be known\n.*pressed again; whether/s, "$why: said");
		is_deeply([reads($s)], [], "$why: not read");
		$s = stopping([$why, 'presses=3'], '--press-interval', '1h');
		$s->ends_with(0, qr/powered itself off/, "$why: every second after a start");
	}
};

subtest 'again' => sub {
	my $s = stopping(['presses=3'], @often);
	$s->ends_with(0, qr/powered itself off/, 'three presses');
	is(presses($s), 3, 'not one more');
	$s = stopping(['presses=9'], @often);
	$s->ends_with(0, qr/powered itself off/, 'nine presses');
	is(join('|', $s->log =~ /power button pressed(.*)\n/g), '| again| again, 4 times in all| again, 8 times in all', 'not a line for each');

	$s = stopping(['presses=3'], '--press-interval', '1h');
	$s->ends_with(0, qr/powered itself off/, 'a guest that boots: every second');
	$s = running(fake => ['presses=3'], options => ['--press-interval', '1h', '--ready', 'listening']);
	$s->wait_log(qr/the guest listens/);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'one that was seen listening, too');
	$s = stopping(['presses=3', 'en=0x0020'], '--press-interval', '1h');
	$s->wait_log(qr/waiting for it/);
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(0, qr/powered itself off/, 'and one that begins to listen');

	for my $never ('0', 'forever') {
		$s = stopping(['presses=2'], '--press-interval', $never);
		$s->wait_log(qr/power button pressed/);
		my $looks = $s->sent(qr/^qom-get$/);
		$s->fake(event => 'RESUME');
		wait_until('a look', sub { $s->sent(qr/^qom-get$/) > $looks });
		$s->signal('QUIT');
		$s->ends_with(80, qr/not shut down: quit/, "--press-interval $never");
		is(presses($s), 1, 'pressed once');
	}

	$s = stopping(['presses=99'], @often);
	$s->wait_log(qr/pressed again/);
	$s->fake(set => { en => '0x0020' });
	wait_reads($s, 2);
	my $before = presses($s);
	wait_reads($s, 3);
	is(presses($s), $before, 'not while it does not listen any more');
	$s->fake(set => { en => '0x0120', presses => 1 });
	$s->ends_with(0, qr/powered itself off/, 'but when it does');
};

subtest 'a guest that serves no interrupts' => sub {
	my $s = stopping(['sts-stuck', 'ignore=system_powerdown']);
	$s->wait_log(qr/a second after the press the guest has not taken it: it is not serving interrupts/);
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'stuck');
};

subtest 'an idle VM is never polled' => sub {
	my $s = running(fake => []);
	$s->signal('USR1');
	$s->wait_log(qr/no ladder in progress/);
	my $sent = () = $s->sent;
	$s->signal('USR1');
	wait_until('answer', sub { $s->sent == $sent + 1 });
	is_deeply([reads($s)], [], 'no register was read');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'idle');
};

subtest 'again, of a guest that is long up' => sub {
	wait_until('30 seconds', sub { time > $up_since + 31 });
	$up->signal('TERM');
	$up->wait_log(qr/a second after the press/);
	my $looks = $up->sent(qr/^qom-get$/);
	$up->fake(event => 'RESUME');
	wait_until('a look', sub { $up->sent(qr/^qom-get$/) > $looks });
	is(presses($up), 1, 'not every second');
	$up->signal('QUIT');
	$up->ends_with(80, qr/not shut down: quit/, 'long up');

	$unreadable->signal('TERM');
	wait_until('a press', sub { presses($unreadable) });
	$unreadable->fake(event => 'RESUME');
	wait_until('a look', sub { $unreadable->sent(qr/^query-status$/) >= 4 });
	is(presses($unreadable), 1, 'nor where it cannot be read');
	$unreadable->fake(reset => 1);
	$unreadable->ends_with(85, qr/reset/, 'unreadable');

	$woken->fake(event => 'WAKEUP');
	$woken->signal('TERM');
	$woken->ends_with(0, qr/powered itself off/, 'woken from S3 just now: every second');
	is(presses($woken), 3, 'three times');
};

done_testing;
